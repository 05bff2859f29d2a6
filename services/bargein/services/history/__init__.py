"""The conversation that a brain remembers."""

from .entries import EntryList
from .entry import Entry, Picture, Role
from .history import History, HistoryStatistics, Summarise

__all__ = ["Entry", "EntryList", "History", "HistoryStatistics", "Picture", "Role", "Summarise"]
