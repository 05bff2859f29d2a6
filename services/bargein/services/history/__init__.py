"""`History`: the conversation that a brain remembers."""

from .entries import EntryList
from .entry import Entry, Picture, Role
from .history import History, HistoryOptions, HistoryStatistics, Summarise

__all__ = ["Entry", "EntryList", "History", "HistoryOptions", "HistoryStatistics", "Picture", "Role", "Summarise"]
