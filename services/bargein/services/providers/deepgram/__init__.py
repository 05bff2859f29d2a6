"""Deepgram's speech-to-text."""

from .speech_to_text import Deepgram

__all__ = ["Deepgram"]
