"""The part of a cascade that answers: it handles turns, tools and interrupts, and tracks which words were heard."""

from .answer import ERROR_REPLY, NO_SPEECH_REPLY, Answer

__all__ = ["ERROR_REPLY", "NO_SPEECH_REPLY", "Answer"]
