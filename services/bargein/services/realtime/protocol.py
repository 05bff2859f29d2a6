"""The language of one provider, without any I/O: what to send for a command, and what a message means.

A provider is a `Protocol` and a `Profile`. Everything else is shared: sockets, reconnection, epochs, interruption, what
was heard, tools. One instance serves one connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from bargein.services.history import Entry
from bargein.services.sockets import Endpoint

from .profile import Profile

__all__ = [
    "AudioCommitted",
    "AudioPiece",
    "Event",
    "GoingAway",
    "Interrupted",
    "ItemCorrected",
    "ItemOver",
    "Message",
    "OutOfBandCompleted",
    "Protocol",
    "ProtocolFault",
    "RateLimitsReported",
    "ResponseBegan",
    "ResponseOver",
    "Resumable",
    "SessionReady",
    "Settings",
    "SpeechBegan",
    "SpeechOver",
    "TextPiece",
    "ToolCallReceived",
    "ToolCallWithdrawn",
    "Transcribed",
    "UsageReported",
    "WordTimed",
]

Message = str | bytes


class Settings(msgspec.Struct, kw_only=True):
    """What every provider is told, in its own words."""

    model: str
    instructions: str = ""
    voice: str | None = None
    output: Literal["audio", "text"] = "audio"
    tools: Sequence[dict[str, Any]] = ()
    """Each with `name`, `description` and `parameters`, a JSON schema."""
    turn_detection: dict[str, Any] | None = None
    """`{"type": "server_vad", …}` in the provider's words; None for push to talk."""
    transcription: dict[str, Any] | None = None
    """How the user's sound is transcribed; None for not at all."""
    extra: dict[str, Any] = {}
    """More of the provider's own settings, merged over all others."""

    def with_extra(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What a provider is to be told, with `extra` over it, deep inside dictionaries."""
        return deep_merge(told, self.extra)


def named_setting(what: str, value: str | Mapping[str, Any] | None, field: str = "type") -> dict[str, Any] | None:
    """A setting that is a name, or a dictionary in which it is a `field`, or None. Raises `TypeError` for others."""
    if isinstance(value, str):
        return {field: value}
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{what}={value!r}: expected a name, a dictionary with its {field}, or None")
    return None if value is None else dict(value)


def deep_merge(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more` over `base`, deep inside dictionaries."""
    merged = dict(base)
    for key, value in more.items():
        old = merged.get(key)
        merged[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


# What a message means -------------------------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What a message of any provider means."""


class SessionReady(Event, frozen=True, kw_only=True):
    """The session can be used."""

    session_id: str
    config: dict[str, Any] = {}
    remaining_seconds: float | None = None
    """How long it may last from now, if the provider says."""
    resumed: bool = False
    """It is the session of an earlier connection: the provider remembers the conversation."""


class Resumable(Event, frozen=True, kw_only=True):
    """As it is now, the session could be taken up on a new connection."""

    handle: str
    """What `Protocol.resume` must be told then."""


class SpeechBegan(Event, frozen=True, kw_only=True):
    """The provider hears the user speak."""

    item_id: str = ""
    ms: float = 0.0
    """Where, in milliseconds of the sound that was sent."""
    interrupts: bool = True
    """The provider stops its response for it."""


class SpeechOver(Event, frozen=True, kw_only=True):
    """The provider hears the user no more."""

    item_id: str = ""
    ms: float = 0.0


class AudioCommitted(Event, frozen=True, kw_only=True):
    """The user's sound has become an item of the conversation."""

    item_id: str
    answered: bool = False
    """A response will follow without being asked for."""


class Transcribed(Event, frozen=True, kw_only=True):
    """What the user said: all that is known of the item so far."""

    item_id: str
    text: str
    final: bool = False


class ResponseBegan(Event, frozen=True, kw_only=True):
    """A response begins."""

    response_id: str
    request_id: str | None = None
    """Which request it answers (`Protocol.request`); empty for the provider's own idea, None if that is unknown."""


class AudioPiece(Event, frozen=True, kw_only=True):
    """More of a reply's sound: 16-bit little-endian PCM, mono, at the profile's rate."""

    response_id: str
    item_id: str
    pcm: bytes


class TextPiece(Event, frozen=True, kw_only=True):
    """More of a reply's text, or of what its sound says."""

    response_id: str
    item_id: str
    text: str


class WordTimed(Event, frozen=True, kw_only=True):
    """When a word of a reply's text sounds, or a longer piece, in milliseconds of its item's sound."""

    response_id: str
    item_id: str
    text: str
    start_ms: float
    end_ms: float


class ItemOver(Event, frozen=True, kw_only=True):
    """An item of a reply is complete; `text` is all of it, where the provider repeats it."""

    response_id: str
    item_id: str
    text: str | None = None


class ItemCorrected(Event, frozen=True, kw_only=True):
    """An item that is over was spoken in other words than its text announced: in these."""

    response_id: str
    item_id: str
    text: str


class ToolCallReceived(Event, frozen=True, kw_only=True):
    """The model wants a tool."""

    response_id: str
    call_id: str
    name: str
    arguments: str
    waits: bool = True
    """The conversation waits for its answer."""


class ToolCallWithdrawn(Event, frozen=True, kw_only=True):
    """The model does not want an answer any more."""

    call_id: str


class ResponseOver(Event, frozen=True, kw_only=True):
    """A response is over."""

    response_id: str
    outcome: Literal["completed", "interrupted", "failed"] = "completed"
    reason: str = ""
    usage: dict[str, int] = {}
    """Fields of `Usage`."""


class Interrupted(Event, frozen=True, kw_only=True):
    """The user has interrupted a response, which may be over already: what is still to be heard of it is not wanted."""

    response_id: str


class UsageReported(Event, frozen=True, kw_only=True):
    """What something cost that has no response's end to say it."""

    usage: dict[str, int]
    """Fields of `Usage`."""
    response_id: str = ""


class OutOfBandCompleted(Event, frozen=True, kw_only=True):
    """An answer that was asked for apart from the conversation."""

    name: str
    text: str
    reason: str = ""


class RateLimitsReported(Event, frozen=True, kw_only=True):
    """What is left of the provider's limits, by name."""

    remaining: dict[str, float]
    reset_seconds: dict[str, float]


class GoingAway(Event, frozen=True, kw_only=True):
    """The provider will close the connection in so many seconds."""

    remaining_seconds: float = 0.0


class ProtocolFault(Event, frozen=True, kw_only=True):
    """The provider complains, or could not be understood."""

    message: str
    code: str = ""
    fatal: bool = False
    """To try again would not help."""
    busy: bool = False
    """A response was asked for while one is being made: ask again when it is over."""
    refused: bool = False
    """The response that was asked for will not come."""
    broken: bool = False
    """The connection is of no use any more."""


# What to send ---------------------------------------------------------------------------------------------------------


class Protocol:
    """One connection's protocol. Commands return the messages to send, in order; `receive` says what came."""

    profile: ClassVar[Profile]
    fatal_close_codes: ClassVar[frozenset[int]] = frozenset()
    """Close codes that another try would meet again, where they come before the session is ready."""

    @property
    def dropped_ms(self) -> float:
        """How much of the user's sound was lost in it: it had to be held back, and there was no room."""
        return 0.0

    def resume(self, handle: str) -> None:
        """Take up the session that an earlier connection's `Resumable` named. Told before anything else."""
        raise NotImplementedError

    def endpoint(self) -> Endpoint | Awaitable[Endpoint]:
        """Where to connect to. Awaited where it takes time to find out: a token, a session that must be made first.

        It may raise `SocketRefusedError`, as connecting may.
        """
        raise NotImplementedError

    def receive(self, data: Message) -> Iterable[Event]:
        """What a message means. Never raises for what a server may send: a `ProtocolFault` says what was wrong."""
        raise NotImplementedError

    def open_session(self, settings: Settings) -> Iterable[Message]:
        """What to send first, once the socket is open. `SessionReady` tells when it took effect."""
        raise NotImplementedError

    def on_open(self) -> Iterable[Event]:
        """What is known once the opening has been sent: `SessionReady`, of a provider that does not say so."""
        return ()

    def close_session(self) -> Iterable[Message]:
        """What to say before the connection is closed in order."""
        return ()

    @property
    def request_id(self) -> str | None:
        """The name of the latest request for a response, where responses tell what they answer."""
        return None

    def take_replies(self) -> Iterable[Message]:
        """What the last `receive` made necessary to send. Asked for after every one."""
        return ()

    def seed(self, entries: Sequence[Entry]) -> Iterable[Message]:
        """An earlier conversation. Entries of the user may have pictures (`seen`), if the profile has `images`."""
        raise NotImplementedError

    def update(self, settings: Settings) -> Iterable[Message]:
        """Other settings for the session."""
        raise NotImplementedError

    def audio(self, pcm: bytes) -> Message | Iterable[Message]:
        """More of the user's sound: 16-bit little-endian PCM, mono, at the profile's rate."""
        raise NotImplementedError

    def speech_started(self) -> Iterable[Message]:
        """A detector of the application's own hears the user speak. Told where the provider does not listen for it."""
        return ()

    def audio_paused(self) -> Iterable[Message]:
        """For some time now the user's source has given no sound."""
        return ()

    def commit(self) -> Iterable[Message]:
        """The user's turn is over."""
        raise NotImplementedError

    def clear_audio(self) -> Iterable[Message]:
        """Forget the sound that was not committed."""
        raise NotImplementedError

    def text(self, text: str, item_id: str = "") -> Iterable[Message]:
        """The user wrote something."""
        raise NotImplementedError

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterable[Message]:
        """The user shows something: an encoded picture."""
        raise NotImplementedError

    def tool_result(self, call_id: str, output: str) -> Iterable[Message]:
        """A tool has answered."""
        raise NotImplementedError

    def cancel_tool_call(self, call_id: str) -> Iterable[Message]:
        """A tool was called off by an interrupt, and will not answer. Told where the provider would wait for it."""
        return ()

    def respond(self, instructions: str = "") -> Iterable[Message]:
        """Answer now."""
        raise NotImplementedError

    def out_of_band(self, name: str, instructions: str) -> Iterable[Message]:
        """Answer apart from the conversation, in text."""
        raise NotImplementedError

    def say(self, text: str, *, protected: bool = False) -> Iterable[Message]:
        """Say these words; `protected`, whatever the user says meanwhile."""
        raise NotImplementedError

    def cancel(self, response_id: str) -> Iterable[Message]:
        """Stop a response."""
        raise NotImplementedError

    def truncate(self, item_id: str, ms: int) -> Iterable[Message]:
        """Only so much of an item's sound was heard."""
        raise NotImplementedError

    def delete_item(self, item_id: str) -> Iterable[Message]:
        """An item was not heard at all."""
        raise NotImplementedError
