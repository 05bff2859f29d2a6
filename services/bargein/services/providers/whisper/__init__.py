"""Whisper's small English model on this machine, with its weights in a package."""

from .speech_to_text import WhisperEar, is_installed

__all__ = ["WhisperEar", "is_installed"]
