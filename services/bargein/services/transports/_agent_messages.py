"""The other end of `control.encode`: what an agent's messages mean to a peer. No I/O."""

from __future__ import annotations

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

from .control import ControlError, Finish, Ready

__all__ = ["told"]


class _Told(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=lambda name: name[1:].lower()):
    pass


class _Speech(_Told, frozen=True, kw_only=True):
    state: Literal["started", "stopped"]
    item: str = ""


class _Transcript(_Told, frozen=True, kw_only=True):
    text: str
    final: bool = False
    item: str = ""
    speaker: str = "user"


class _Response(_Told, frozen=True, kw_only=True):
    state: Literal["started", "completed", "interrupted", "failed"]
    response: str = ""


class _Text(_Told, frozen=True, kw_only=True):
    text: str
    response: str = ""
    item: str = ""
    final: bool = False


class _Tool(_Told, frozen=True, kw_only=True):
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


class _Latency(_Told, frozen=True, kw_only=True):
    ms: float
    response: str = ""


class _Reaction(_Told, frozen=True, kw_only=True):
    ms: float
    epoch: int = 0


class _Usage(_Told, frozen=True, kw_only=True):
    response: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


class _Flush(_Told, frozen=True, kw_only=True):
    epoch: int
    reason: str = ""


class _Hold(_Told, frozen=True, kw_only=True):
    pass


class _Resume(_Told, frozen=True, kw_only=True):
    pass


class _Error(_Told, frozen=True, kw_only=True):
    message: str
    code: str = ""
    fatal: bool = False


_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    Ready
    | Finish
    | _Speech
    | _Transcript
    | _Response
    | _Text
    | _Tool
    | _Latency
    | _Reaction
    | _Usage
    | _Flush
    | _Hold
    | _Resume
    | _Error
)


def told(data: str | bytes) -> Ready | Finish | Frame:
    """What an agent's message means: the frame it was made of, as far as it says, or what is between the two ends.

    Raises `ControlError`, and nothing else, for whatever else may come.
    """
    try:
        message = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ControlError(f"this is no message of an agent: {error}") from None
    return message if isinstance(message, Ready | Finish) else _frame(message)


def _frame(message: Any) -> Frame:
    match message:
        case _Speech(state="started"):
            return SpeechStarted(item_id=message.item)
        case _Speech():
            return SpeechStopped(item_id=message.item)
        case _Transcript():
            return Transcript(text=message.text, final=message.final, item_id=message.item, speaker=message.speaker)
        case _Response():
            if message.state == "started":
                return ResponseStarted(response_id=message.response)
            return ResponseEnded(response_id=message.response, outcome=message.state)
        case _Text():
            return Text(text=message.text, response_id=message.response, item_id=message.item, final=message.final)
        case _Tool():
            return _tool(message)
        case _Latency():
            return TurnLatency(ms=message.ms, response_id=message.response)
        case _Reaction():
            return BargeInLatency(ms=message.ms, interrupted=message.epoch)
        case _Usage():
            return Usage(
                response_id=message.response, input_tokens=message.input_tokens, output_tokens=message.output_tokens
            )
        case _Flush():
            return Interrupt(reason=message.reason, epoch=message.epoch)
        case _Hold():
            return Hold()
        case _Resume():
            return Resume()
    return Failure(message=message.message, fatal=message.fatal)


def _tool(message: _Tool) -> Frame:
    call, name = message.call, message.name
    match message.state:
        case "called":
            return ToolCall(call_id=call, name=name, arguments=message.arguments)
        case "started":
            return ToolStarted(call_id=call, name=name)
        case "progress":
            return ToolProgress(call_id=call, name=name, message=message.message, share=message.share)
    return ToolFinished(
        call_id=call,
        name=name,
        output=message.output,
        error=message.error,
        cancelled=message.cancelled,
        seconds=message.seconds,
    )
