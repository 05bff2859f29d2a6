"""The messages that an agent sends to a peer, both ways: encoded by the agent, decoded by a client. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from bargein.pipeline import (
    Failure,
    Frame,
    Hold,
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
)
from bargein.processors import BargeInLatency, TurnLatency
from bargein.services.frames import ToolFinished, ToolProgress, ToolStarted

from .user_messages import ControlError, Finish

__all__ = [
    "Ready",
    "SinkEvent",
    "SourceEvent",
    "decode_agent_message",
    "encode_agent_message",
    "encode_end",
    "encode_error",
    "encode_ready",
]

SinkEvent = (
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
"""The frames, besides sound and pictures, that go down a graph and have a message: a sink takes them and sends it."""
SourceEvent = Failure | TurnLatency | BargeInLatency
"""The frames that come up a graph and have a message: a source takes them and sends it."""


# Encoding -------------------------------------------------------------------------------------------------------------

_FIELDS = {"item": "item_id", "response": "response_id"}  # names on the wire that are shorter than the frames' own


def _speech(state: str) -> Callable[[Any], dict[str, Any]]:
    return lambda frame: {"type": "speech", "state": state, "item": frame.item_id}


def _tool(state: str, *names: str) -> Callable[[Any], dict[str, Any]]:
    return lambda frame: (
        {"type": "tool", "state": state, "call": frame.call_id} | {name: getattr(frame, name) for name in names}
    )


def _fields(kind: str, *names: str) -> Callable[[Any], dict[str, Any]]:
    fields = {name: _FIELDS.get(name, name) for name in names}
    return lambda frame: {"type": kind} | {name: getattr(frame, field) for name, field in fields.items()}


_ENCODERS: dict[type[Frame], Callable[[Any], dict[str, Any]]] = {
    SpeechStarted: _speech("started"),
    SpeechStopped: _speech("stopped"),
    Transcript: _fields("transcript", "speaker", "item", "text", "final"),
    ResponseStarted: lambda frame: {"type": "response", "state": "started", "response": frame.response_id},
    ResponseEnded: lambda frame: {"type": "response", "state": frame.outcome, "response": frame.response_id},
    Text: _fields("text", "response", "item", "text", "final"),
    ToolCall: _tool("called", "name", "arguments"),
    ToolStarted: _tool("started", "name"),
    ToolProgress: _tool("progress", "name", "message", "share"),
    ToolFinished: _tool("finished", "name", "output", "error", "cancelled", "seconds"),
    TurnLatency: _fields("latency", "ms", "response"),
    BargeInLatency: lambda frame: {"type": "reaction", "ms": frame.ms, "epoch": frame.interrupted},
    Usage: _fields("usage", "response", "input_tokens", "output_tokens"),
    Interrupt: lambda frame: {"type": "flush", "epoch": frame.epoch, "reason": frame.reason},
    Hold: lambda frame: {"type": "hold"},
    Resume: lambda frame: {"type": "resume"},
    Failure: lambda frame: {"type": "error", "code": "failure", "message": frame.message, "fatal": frame.fatal},
}


def encode_agent_message(frame: Frame) -> str | None:
    """Return the message that tells a peer about a frame; None for a frame that has no message.

    Args:
        frame: A frame of the graph.
    """
    make = _ENCODERS.get(type(frame))
    return None if make is None else _json(make(frame))


def encode_ready(session: str, rate: int, channels: int = 1, *, resume: str = "", resumed: bool = False) -> str:
    """Return the agent's first message: the session has begun.

    Args:
        session: The session's name.
        rate: The rate of the agent's sound, in samples a second (Hz); 0 where each piece has its own.
        channels: The number of its channels.
        resume: The conversation's token, with which the peer can go on with it after a lost connection.
        resumed: Whether this session goes on with the conversation of the token that the peer presented.
    """
    message = {"type": "ready", "session": session, "rate": rate, "channels": channels}
    return _json(message | ({"resume": resume, "resumed": resumed} if resume else {}))


def encode_error(error: ControlError) -> str:
    """Return the answer to a message that could not be understood.

    Args:
        error: What is wrong with the message.
    """
    return _json({"type": "error", "code": error.code, "message": str(error), "fatal": False})


def encode_end(reason: str) -> str:
    """Return the last message: the session is over, and why.

    Args:
        reason: Why the session is over.
    """
    return _json({"type": "end", "reason": reason})


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


# Decoding -------------------------------------------------------------------------------------------------------------


class _AgentMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class Ready(_AgentMessage, frozen=True, kw_only=True, tag="ready"):
    """The agent's first message."""

    session: str = ""
    """The session's name, for the logs of both sides."""
    rate: int = 0
    """The rate of the agent's sound, in samples a second (Hz); 0 where each piece of sound has its own."""
    channels: int = 1
    """The number of its channels."""
    resume: str = ""
    """The conversation's token. A new connection that presents it goes on with the conversation."""
    resumed: bool = False
    """Whether this session goes on with an earlier conversation."""


class _SpeechMessage(_AgentMessage, frozen=True, kw_only=True, tag="speech"):
    state: Literal["started", "stopped"]
    item: str = ""

    def frame(self) -> Frame:
        return SpeechStarted(item_id=self.item) if self.state == "started" else SpeechStopped(item_id=self.item)


class _TranscriptMessage(_AgentMessage, frozen=True, kw_only=True, tag="transcript"):
    text: str
    final: bool = False
    item: str = ""
    speaker: str = "user"

    def frame(self) -> Frame:
        return Transcript(text=self.text, final=self.final, item_id=self.item, speaker=self.speaker)


class _ResponseMessage(_AgentMessage, frozen=True, kw_only=True, tag="response"):
    state: Literal["started", "completed", "interrupted", "failed"]
    response: str = ""

    def frame(self) -> Frame:
        if self.state == "started":
            return ResponseStarted(response_id=self.response)
        return ResponseEnded(response_id=self.response, outcome=self.state)


class _TextMessage(_AgentMessage, frozen=True, kw_only=True, tag="text"):
    text: str
    response: str = ""
    item: str = ""
    final: bool = False

    def frame(self) -> Frame:
        return Text(text=self.text, response_id=self.response, item_id=self.item, final=self.final)


class _ToolMessage(_AgentMessage, frozen=True, kw_only=True, tag="tool"):
    state: Literal["called", "started", "progress", "finished"]
    call: str = ""
    name: str = ""
    arguments: str = "{}"
    message: str = ""
    share: float | None = None
    output: str = ""
    error: bool = False
    cancelled: bool = False
    seconds: float = 0.0

    def frame(self) -> Frame:
        call, name = self.call, self.name
        match self.state:
            case "called":
                return ToolCall(call_id=call, name=name, arguments=self.arguments)
            case "started":
                return ToolStarted(call_id=call, name=name)
            case "progress":
                return ToolProgress(call_id=call, name=name, message=self.message, share=self.share)
        return ToolFinished(
            call_id=call,
            name=name,
            output=self.output,
            error=self.error,
            cancelled=self.cancelled,
            seconds=self.seconds,
        )


class _LatencyMessage(_AgentMessage, frozen=True, kw_only=True, tag="latency"):
    ms: float
    response: str = ""

    def frame(self) -> Frame:
        return TurnLatency(ms=self.ms, response_id=self.response)


class _ReactionMessage(_AgentMessage, frozen=True, kw_only=True, tag="reaction"):
    ms: float
    epoch: int = 0

    def frame(self) -> Frame:
        return BargeInLatency(ms=self.ms, interrupted=self.epoch)


class _UsageMessage(_AgentMessage, frozen=True, kw_only=True, tag="usage"):
    response: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    def frame(self) -> Frame:
        return Usage(response_id=self.response, input_tokens=self.input_tokens, output_tokens=self.output_tokens)


class _FlushMessage(_AgentMessage, frozen=True, kw_only=True, tag="flush"):
    epoch: int
    reason: str = ""

    def frame(self) -> Frame:
        return Interrupt(reason=self.reason, epoch=self.epoch)


class _HoldMessage(_AgentMessage, frozen=True, kw_only=True, tag="hold"):
    def frame(self) -> Frame:
        return Hold()


class _ResumeMessage(_AgentMessage, frozen=True, kw_only=True, tag="resume"):
    def frame(self) -> Frame:
        return Resume()


class _ErrorMessage(_AgentMessage, frozen=True, kw_only=True, tag="error"):
    message: str
    code: str = ""
    fatal: bool = False

    def frame(self) -> Frame:
        return Failure(message=self.message, fatal=self.fatal)


_DECODER = msgspec.json.Decoder(
    Ready
    | Finish
    | _SpeechMessage
    | _TranscriptMessage
    | _ResponseMessage
    | _TextMessage
    | _ToolMessage
    | _LatencyMessage
    | _ReactionMessage
    | _UsageMessage
    | _FlushMessage
    | _HoldMessage
    | _ResumeMessage
    | _ErrorMessage
)


def decode_agent_message(data: str | bytes) -> Ready | Finish | Frame:
    """Return what an agent's message means: the frame that it was made from, or `Ready` or `Finish`.

    Fields that the message does not carry have their defaults.

    Args:
        data: The message as JSON.

    Raises:
        ControlError: The message cannot be understood. Nothing else is raised, whatever an agent sends.
    """
    try:
        message = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ControlError(f"this is not a message of an agent: {error}") from None
    return message if isinstance(message, Ready | Finish) else message.frame()
