"""ElevenLabs' text-to-speech."""

from .text_to_speech import ElevenLabs

__all__ = ["ElevenLabs"]
