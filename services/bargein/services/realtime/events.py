"""Events: what a message of a realtime provider means, in the same words for all providers."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bargein.pipeline.lowlevel import CheckedFields

__all__ = [
    "AudioCommitted",
    "AudioPiece",
    "Event",
    "GoingAway",
    "Interrupted",
    "ItemCorrected",
    "ItemOver",
    "OutOfBandCompleted",
    "ProtocolFault",
    "RateLimitsReported",
    "ResponseBegan",
    "ResponseOver",
    "Resumable",
    "SessionReady",
    "SpeechBegan",
    "SpeechOver",
    "TextPiece",
    "ToolCallReceived",
    "ToolCallWithdrawn",
    "Transcribed",
    "UsageReported",
    "WordTimed",
]


class Event(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """Base class of all events."""


# The session ----------------------------------------------------------------------------------------------------------


class SessionReady(Event, frozen=True, kw_only=True):
    """The session can be used."""

    session_id: str
    """The session's id at the provider."""
    config: dict[str, Any] = {}
    """Configuration of the session, as the provider states it."""
    remaining_seconds: float | None = None
    """How long the session may last from now, in seconds; None if the provider does not say."""
    resumed: bool = False
    """It is the session of an earlier connection: the provider remembers the conversation."""


class Resumable(Event, frozen=True, kw_only=True):
    """From now on, a new connection can take up the session in its present state."""

    handle: str
    """The handle of the session, for `Protocol.resume`."""


class RateLimitsReported(Event, frozen=True, kw_only=True):
    """The provider says what is left of its limits."""

    remaining: dict[str, float]
    """What is left, by the limit's name, such as `requests` and `tokens`."""
    reset_seconds: dict[str, float]
    """In how many seconds a limit is full again, by its name."""


class GoingAway(Event, frozen=True, kw_only=True):
    """The provider will close the connection."""

    remaining_seconds: float = 0.0
    """Seconds until the connection is closed; 0 for at once."""


class ProtocolFault(Event, frozen=True, kw_only=True):
    """The provider reports an error, or its message could not be understood."""

    message: str
    """The error, in a sentence."""
    code: str = ""
    """The provider's code for the error."""
    fatal: bool = False
    """Whether retrying cannot succeed."""
    busy: bool = False
    """A response was requested while another one is being made: the request has to be sent again later."""
    refused: bool = False
    """Whether the requested response will not come."""
    broken: bool = False
    """Whether the connection can no longer be used."""


# The user -------------------------------------------------------------------------------------------------------------


class SpeechBegan(Event, frozen=True, kw_only=True):
    """The provider detects that the user speaks."""

    item_id: str = ""
    """The item that the speech will become."""
    ms: float = 0.0
    """Where the speech begins, in milliseconds of the audio that was sent on this connection."""
    interrupts: bool = True
    """Whether the provider stops its response because of the speech."""


class SpeechOver(Event, frozen=True, kw_only=True):
    """The provider detects that the user has stopped speaking."""

    item_id: str = ""
    """The item that the speech will become."""
    ms: float = 0.0
    """Where the speech ends, in milliseconds of the audio that was sent on this connection."""


class AudioCommitted(Event, frozen=True, kw_only=True):
    """The user's audio has become an item of the conversation."""

    item_id: str
    """The item."""
    answered: bool = False
    """Whether the provider will respond to the item without a request."""


class Transcribed(Event, frozen=True, kw_only=True):
    """The user's words in an item, as far as they are known."""

    item_id: str
    """The item."""
    text: str
    """All words of the item that are known so far. A later event replaces them."""
    final: bool = False
    """Whether the words will not change again."""


class Interrupted(Event, frozen=True, kw_only=True):
    """The user has interrupted a response. What is not yet played of it is not wanted, even if the response is over."""

    response_id: str
    """The response."""


# A response -----------------------------------------------------------------------------------------------------------


class ResponseBegan(Event, frozen=True, kw_only=True):
    """A response begins."""

    response_id: str
    """Id of the response."""
    request_id: str | None = None
    """The request that it answers (`Protocol.request_id`); empty if it answers none, None if that is unknown."""


class AudioPiece(Event, frozen=True, kw_only=True):
    """More of a reply's audio."""

    response_id: str
    """The response."""
    item_id: str
    """The item of the response."""
    pcm: bytes
    """16-bit little-endian PCM, mono, at the profile's `output_rate`."""


class TextPiece(Event, frozen=True, kw_only=True):
    """More of a reply's text, or of the transcript of its audio."""

    response_id: str
    """The response."""
    item_id: str
    """The item of the response."""
    text: str
    """The text that is added."""


class WordTimed(Event, frozen=True, kw_only=True):
    """When a word of a reply's text is spoken, or a longer piece of it."""

    response_id: str
    """The response."""
    item_id: str
    """The item of the response."""
    text: str
    """The word or the piece."""
    start_ms: float
    """Where it starts, in milliseconds of the item's audio."""
    end_ms: float
    """Where it ends, in milliseconds of the item's audio."""


class ItemOver(Event, frozen=True, kw_only=True):
    """An item of a reply is complete."""

    response_id: str
    """The response."""
    item_id: str
    """The item."""
    text: str | None = None
    """The whole text of the item, if the provider repeats it."""


class ItemCorrected(Event, frozen=True, kw_only=True):
    """A complete item was spoken in other words than its text said."""

    response_id: str
    """The response."""
    item_id: str
    """The item."""
    text: str
    """The words that were spoken."""


class ResponseOver(Event, frozen=True, kw_only=True):
    """A response has ended."""

    response_id: str
    """The response."""
    outcome: Literal["completed", "interrupted", "failed"] = "completed"
    """How the response ended."""
    reason: str = ""
    """Why the response is not complete; empty if it is."""
    usage: dict[str, int] = {}
    """Fields of the frame `Usage`."""


class UsageReported(Event, frozen=True, kw_only=True):
    """Usage that no `ResponseOver` reports."""

    usage: dict[str, int]
    """Fields of the frame `Usage`."""
    response_id: str = ""
    """The response, if it belongs to one."""


class OutOfBandCompleted(Event, frozen=True, kw_only=True):
    """The answer to a question that is not part of the conversation (`Protocol.out_of_band`)."""

    name: str
    """The name of the question."""
    text: str
    """The whole answer; empty if it failed."""
    reason: str = ""
    """Why the question was not answered; empty if it was."""


# Tools ----------------------------------------------------------------------------------------------------------------


class ToolCallReceived(Event, frozen=True, kw_only=True):
    """The model calls a tool."""

    response_id: str
    """The response that makes the call."""
    call_id: str
    """The id of the call."""
    name: str
    """The tool."""
    arguments: str
    """The arguments, as JSON."""
    waits: bool = True
    """Whether the model waits until the call is answered."""


class ToolCallWithdrawn(Event, frozen=True, kw_only=True):
    """The model no longer wants an answer to a call."""

    call_id: str
    """The id of the call."""
