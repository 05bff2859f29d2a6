"""The part of a cascade that answers: turns, tools, interruptions, and what was heard."""

from .answer import ERROR_REPLY, NO_SPEECH_REPLY, Answer

__all__ = ["ERROR_REPLY", "NO_SPEECH_REPLY", "Answer"]
