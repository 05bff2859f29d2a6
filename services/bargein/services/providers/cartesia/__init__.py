"""Cartesia's text-to-speech."""

from .text_to_speech import Cartesia

__all__ = ["Cartesia"]
