"""The conversation that a brain remembers."""

from .history import Entry, History, HistoryStatistics, Picture, Summarise

__all__ = ["Entry", "History", "HistoryStatistics", "Picture", "Summarise"]
