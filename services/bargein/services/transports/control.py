"""The messages between an agent and a peer that can read: JSON objects, told apart by their `type`. No I/O.

A peer sends `start` (once, first), `text`, `image`, `interrupt`, `commit` and `end`. It gets `ready` (once, first),
what its page or program shows (`speech`, `transcript`, `response`, `text`, `tool`, `latency`, `reaction`, `usage`),
what its player must do (`flush`, `hold`, `resume`), `error`, and `end`. Sound goes beside them, as each transport will.

`flush` carries the epoch that begins: a player drops all sound that was sent for an older one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bargein.pipeline import (
    Failure,
    Frame,
    FrameError,
    Hold,
    Image,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    Transcript,
    Usage,
    UserText,
)
from bargein.processors import BargeInLatency, Commit, TurnLatency
from bargein.services.frames import ToolFinished, ToolProgress, ToolStarted

__all__ = [
    "ControlError",
    "Finish",
    "Noted",
    "Ready",
    "Start",
    "Told",
    "decode",
    "encode",
    "ending",
    "fault",
    "ready",
    "said",
    "start",
]

Told = (
    SpeechStarted
    | SpeechStopped
    | Transcript
    | ResponseStarted
    | ResponseEnded
    | Text
    | ToolCall
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Usage
    | Interrupt
    | Hold
    | Resume
)
"""What there is a message for, of what goes down a graph: what a sink should take besides sound and pictures."""
Noted = Failure | TurnLatency | BargeInLatency
"""What there is a message for, of what comes up: what a source should take, and tell its peer."""


class ControlError(ValueError):
    """A message that cannot be understood; says what was wrong with it, for the peer's eyes."""

    def __init__(self, message: str, code: str = "wrong_message") -> None:
        super().__init__(message)
        self.code = code
        """For programs."""


# What a peer sends ----------------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    pass


class Start(_Message, frozen=True, kw_only=True):
    """The peer says what it speaks and hears, and what it wishes."""

    rate: int = 16_000
    """Samples a second (Hz) of the sound it sends."""
    channels: int = 1
    """And channels."""
    output_rate: int = 0
    """Samples a second it would like to hear; 0 for the agent's own."""
    token: str = ""
    """Who it is, where a header cannot say so."""
    wishes: Mapping[str, str] = {}
    """Anything else, for who builds the session: `{"brain": "openai"}`."""

    def __repr__(self) -> str:
        return f"Start(rate={self.rate}, channels={self.channels}, output_rate={self.output_rate})"  # never the token


class _Text(_Message, frozen=True, kw_only=True, tag="text"):
    text: str


class _Image(_Message, frozen=True, kw_only=True, tag="image"):
    data: str
    format: str = "jpeg"
    detail: str = ""


class _Interrupt(_Message, frozen=True, kw_only=True, tag="interrupt"):
    reason: str = "asked to"


class _Commit(_Message, frozen=True, kw_only=True, tag="commit"):
    pass


class Finish(_Message, frozen=True, kw_only=True, tag="end"):
    """The peer says goodbye."""

    reason: str = ""
    """Why."""


_DECODER = msgspec.json.Decoder(Start | _Text | _Image | _Interrupt | _Commit | Finish)


def decode(data: str | bytes) -> Start | Finish | Frame:
    """What a peer's message means: a frame for the graph, or what is between the peer and its transport.

    Raises `ControlError`, and nothing else, for whatever else a peer may send.
    """
    try:
        message = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ControlError(f"this is no message of ours: {error}") from None
    if isinstance(message, Start | Finish):
        return message
    if isinstance(message, _Text):
        return UserText(text=message.text)
    if isinstance(message, _Interrupt):
        return Interrupt(reason=message.reason)
    if isinstance(message, _Commit):
        return Commit()
    try:
        picture = base64.b64decode(message.data, validate=True)
        return Image(data=picture, format=message.format, detail=message.detail)
    except (binascii.Error, ValueError, FrameError) as error:
        raise ControlError(f"this is no picture: {error}") from None


def start(message: Start) -> str:
    """A peer's first message."""
    return msgspec.json.encode(message).decode()


def said(frame: UserText | Commit | Interrupt | Image) -> str:
    """A peer's message that `decode` makes this frame of. Raises `ValueError` for a picture that is not encoded."""
    message: _Message
    if isinstance(frame, UserText):
        message = _Text(text=frame.text)
    elif isinstance(frame, Interrupt):
        message = _Interrupt(reason=frame.reason)
    elif isinstance(frame, Commit):
        message = _Commit()
    elif isinstance(frame.data, bytes):
        data = base64.b64encode(frame.data).decode()
        message = _Image(data=data, format=frame.format, detail=frame.detail)
    else:
        raise ValueError(f"{frame!r} cannot be sent as {frame.format}; encode it first, as jpeg, png or webp")
    return msgspec.json.encode(message).decode()


# What a peer gets -----------------------------------------------------------------------------------------------------


class Ready(_Message, frozen=True, kw_only=True):
    """The agent's first message."""

    session: str = ""
    """The session's name, for logs of both sides."""
    rate: int = 0
    """Samples a second (Hz) of the agent's sound; 0 where each piece says it."""
    channels: int = 1
    """And channels."""


_FIELDS = {"item": "item_id", "response": "response_id"}  # names on the wire that are shorter than the frames' own


def _speech(state: str) -> Callable[[Any], dict[str, Any]]:
    return lambda frame: {"type": "speech", "state": state, "item": frame.item_id}


def _tool(state: str, *names: str) -> Callable[[Any], dict[str, Any]]:
    return lambda frame: (
        {"type": "tool", "state": state, "call": frame.call_id} | {name: getattr(frame, name) for name in names}
    )


def _plain(kind: str, *names: str) -> Callable[[Any], dict[str, Any]]:
    fields = {name: _FIELDS.get(name, name) for name in names}
    return lambda frame: {"type": kind} | {name: getattr(frame, field) for name, field in fields.items()}


_MESSAGES: dict[type[Frame], Callable[[Any], dict[str, Any]]] = {
    SpeechStarted: _speech("started"),
    SpeechStopped: _speech("stopped"),
    Transcript: _plain("transcript", "speaker", "item", "text", "final"),
    ResponseStarted: lambda frame: {"type": "response", "state": "started", "response": frame.response_id},
    ResponseEnded: lambda frame: {"type": "response", "state": frame.outcome, "response": frame.response_id},
    Text: _plain("text", "response", "item", "text", "final"),
    ToolCall: _tool("called", "name", "arguments"),
    ToolStarted: _tool("started", "name"),
    ToolProgress: _tool("progress", "name", "message", "share"),
    ToolFinished: _tool("finished", "name", "output", "error", "cancelled", "seconds"),
    TurnLatency: _plain("latency", "ms", "response"),
    BargeInLatency: lambda frame: {"type": "reaction", "ms": frame.ms, "epoch": frame.interrupted},
    Usage: _plain("usage", "response", "input_tokens", "output_tokens"),
    Interrupt: lambda frame: {"type": "flush", "epoch": frame.epoch, "reason": frame.reason},
    Hold: lambda frame: {"type": "hold"},
    Resume: lambda frame: {"type": "resume"},
    Failure: lambda frame: {"type": "error", "code": "failure", "message": frame.message, "fatal": frame.fatal},
}


def encode(frame: Frame) -> str | None:
    """What a peer is told of a frame; None where there is nothing to tell."""
    make = _MESSAGES.get(type(frame))
    return None if make is None else _json(make(frame))


def ready(session: str, rate: int, channels: int = 1, **more: Any) -> str:
    """The first message: the session has begun, and the agent's sound has this rate and so many channels."""
    return _json({"type": "ready", "session": session, "rate": rate, "channels": channels} | more)


def fault(error: ControlError) -> str:
    """The answer to a wrong message."""
    return _json({"type": "error", "code": error.code, "message": str(error), "fatal": False})


def ending(reason: str) -> str:
    """The last message: the session is over, and why."""
    return _json({"type": "end", "reason": reason})


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
