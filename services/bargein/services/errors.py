"""The error of a brain that cannot do what is asked, with what to use instead of each capability."""

from __future__ import annotations

from typing import Final, Self

__all__ = ["ALTERNATIVES", "UnsupportedError"]

ALTERNATIVES: Final = {
    "supports_images": "use a model that takes pictures, or describe them in text",
    "supports_text_output": "let it speak with its own voice",
    "supports_cancel": "the rest of its reply is dropped here instead",
    "supports_commit": "let it find the end of a turn itself",
    "supports_out_of_band": "ask a separate model",
    "supports_verbatim_speech": "use respond(instructions='Say exactly: ...'), if it supports response requests",
    "supports_updates": "begin another session",
    "supports_history_seeding": "put what matters of the history into the instructions",
    "supports_response_requests": "it answers by itself what it hears and reads",
    "supports_text_input": "say it, or use a model that reads text",
    "supports_resumption": "the conversation is given to the new session as text",
    "supports_truncation": "the provider remembers its whole reply; `history` keeps what was heard, and seeds the next session",
    "emits_speech_events": "put a Vad above it where speech events are needed",
}
"""What to do instead, by the name of the capability that is missing (a field of `Profile`)."""


class UnsupportedError(ValueError):
    """A brain or its provider cannot do what is asked. Raised before anything is sent; says what to use instead."""

    @classmethod
    def of(cls, who: str, capability: str, what: str) -> Self:
        """Return the error for a capability that is missing.

        Args:
            who: Name of the provider or the model.
            capability: The capability, a key of `ALTERNATIVES`.
            what: What was asked for, such as `say()`.
        """
        return cls(f"{who} cannot do {what}; {ALTERNATIVES[capability]}")
