"""Whisper models on this machine, with their weights in packages."""

from .speech_to_text import WhisperEar, is_installed
from .statistics import HearingStatistics

__all__ = ["HearingStatistics", "WhisperEar", "is_installed"]
