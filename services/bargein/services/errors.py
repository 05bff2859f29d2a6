"""Errors that several services share."""

from __future__ import annotations

from typing import Final, Self

__all__ = ["UnsupportedError"]

_INSTEAD: Final = {
    "supports_images": "use a model that takes pictures, or describe them in text",
    "supports_text_output": "let it speak with its own voice",
    "supports_cancel": "the rest of its reply is dropped here instead",
    "supports_commit": "let it find the end of a turn by itself",
    "supports_out_of_band": "ask a model of its own",
    "supports_verbatim_speech": "use respond(instructions='Say exactly: ...'), where it can be asked",
    "supports_updates": "begin another session",
    "supports_history_seeding": "give what matters of it in the instructions",
    "supports_response_requests": "it answers by itself whatever it hears",
    "supports_text_input": "say it, or use a model that reads",
    "supports_resumption": "the conversation is given to the new session as text",
    "supports_truncation": "its memory keeps what was not heard; `history` does not, and is what a new session is told",
    "emits_speech_events": "put a Vad above it, where somebody must know",
}


class UnsupportedError(ValueError):
    """The provider or the part cannot do this. Raised before anything is sent; says what to do instead."""

    @classmethod
    def of(cls, who: str, capability: str, what: str) -> Self:
        """Return the error for a missing capability.

        Args:
            who: What lacks it, such as `OpenAI`.
            capability: The name of a field of `Profile`, such as `supports_images`.
            what: What was asked for, such as `Image`.
        """
        return cls(f"{who} cannot do {what}; {_INSTEAD[capability]}")

    @staticmethod
    def instead(capability: str) -> str:
        """Return what to do without a capability; empty if its name says enough."""
        return _INSTEAD.get(capability, "")
