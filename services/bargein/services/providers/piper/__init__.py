"""Piper's text-to-speech on this machine."""

from .text_to_speech import Piper

__all__ = ["Piper"]
