"""What a provider can do, as data."""

from __future__ import annotations

from typing import Final, Self

import msgspec

__all__ = ["Profile", "UnsupportedError"]


_INSTEAD: Final = {
    "images": "use a model that takes pictures, or describe them in text",
    "text_output": "let it speak with its own voice",
    "cancels": "the rest of its reply is dropped here instead",
    "commits": "let it find the end of a turn by itself",
    "asides": "ask a model of its own",
    "says": "use respond(instructions='Say exactly: ...'), where it can be asked",
    "updates": "begin another session",
    "seeds": "give what matters of it in the instructions",
    "asks": "it answers by itself whatever it hears",
    "texts": "say it, or use a model that reads",
    "resumes": "the conversation is given to the new session as text",
    "truncates": "its own memory keeps what was not heard; `history` does not, and is what a new session is told",
    "speech": "put a Vad above it, where somebody must know",
}


class UnsupportedError(ValueError):
    """The provider cannot do this. Raised before anything is sent; says what to use instead."""

    @classmethod
    def of(cls, who: str, capability: str, what: str) -> Self:
        """`who` lacks a capability, and was asked for `what`."""
        return cls(f"{who} cannot do {what}; {_INSTEAD[capability]}")


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The capabilities of a provider. What is not said, it cannot do."""

    provider: str
    """Its name, as users know it."""
    input_rate: int
    """Samples a second (Hz) that it hears, mono."""
    output_rate: int
    """Samples a second that it speaks, mono."""
    images: bool = False
    """Pictures can be shown to it."""
    image_bytes: int | None = None
    """Bytes of a picture, at most; None where no limit is known."""
    image_forms: tuple[str, ...] = ()
    """How a picture may be encoded: `jpeg`, …; empty where several ways will do."""
    text_output: bool = False
    """It can answer in text only, so that a voice of one's own can follow."""
    response_ids: bool = True
    """Its audio names the response it belongs to; where not, staleness is decided by order."""
    cancels: bool = False
    """A response can be stopped."""
    truncates: bool = False
    """Its memory of what it said can be cut to what was heard."""
    turn_detection: tuple[str, ...] = ()
    """How it can find the end of a turn by itself: `server_vad`, `semantic_vad`, …"""
    commits: bool = False
    """The application can say when the user's turn is over."""
    asides: bool = False
    """It can answer apart from the conversation."""
    says: bool = False
    """It can be made to say given words."""
    asks: bool = True
    """A response can, and must, be asked for; where not, it answers what it hears, reads, and learns of tools."""
    texts: bool = True
    """It reads what the user writes."""
    continuous: bool = False
    """It must hear without a break: silence is sent where the user's source gives nothing."""
    answers_commits: bool = False
    """It answers a commit without being asked."""
    continues: bool = False
    """It goes on by itself when a tool has answered; where not, another response is asked for."""
    speech: bool = False
    """It tells when the user begins and ceases to speak."""
    updates: bool = False
    """Instructions and tools can change within a session."""
    renews: bool = False
    """Such a change takes a new connection, which is made in the next pause."""
    seeds: bool = False
    """An earlier conversation can be given to it."""
    resumes: bool = False
    """A new connection can take up the session of one that was lost."""
    session_seconds: float | None = None
    """How long a session may last; None when there is no limit."""

    @staticmethod
    def instead(capability: str) -> str:
        """What to do where a provider has not a capability; empty where that says itself."""
        return _INSTEAD.get(capability, "")

    def require(self, capability: str, what: str) -> None:
        """Raise `UnsupportedError` unless the provider has a capability; `what` is what was asked for."""
        if not getattr(self, capability):
            raise UnsupportedError.of(self.provider, capability, what)
