"""What Nova Sonic says, as it stands on the wire: JSON in messages of the event stream. Unknown fields are ignored."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .event_stream import DamagedError, decode, encode

__all__ = [
    "AudioOutput",
    "CompletionEnd",
    "CompletionStart",
    "ContentEnd",
    "ContentStart",
    "Output",
    "TextOutput",
    "ThrownError",
    "ToolUse",
    "UnreadableError",
    "UsageEvent",
    "event",
    "read",
]

HEADERS: Final = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}


class UnreadableError(ValueError):
    """A message that is none of these."""


class ThrownError(Exception):
    """The service reports a failure, and ends the stream with it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind = kind
        """Such as `throttlingException`."""


class CompletionStart(msgspec.Struct):
    """What follows belongs to one completion; that may be many turns."""


class CompletionEnd(msgspec.Struct, rename="camel"):
    """A completion is over."""

    stop_reason: str = ""


class ContentStart(msgspec.Struct, rename="camel"):
    """A block begins."""

    content_id: str = ""
    type: str = ""
    """`TEXT`, `AUDIO` or `TOOL`."""
    role: str = ""
    """`USER`, `ASSISTANT` or `TOOL`."""
    additional_model_fields: str | None = None
    """JSON in JSON, with the `generationStage`."""

    @property
    def final(self) -> bool:
        """Text that was really spoken, and not text that is about to be."""
        try:
            fields = msgspec.json.decode(self.additional_model_fields or "{}")
        except msgspec.MsgspecError:
            return False
        return isinstance(fields, dict) and fields.get("generationStage") == "FINAL"


class ContentEnd(msgspec.Struct, rename="camel"):
    """A block ends."""

    content_id: str = ""
    type: str = ""
    stop_reason: str = ""
    """`PARTIAL_TURN`, `END_TURN`, `INTERRUPTED` or `TOOL_USE`."""


class TextOutput(msgspec.Struct, rename="camel"):
    """Text of a block."""

    content_id: str = ""
    role: str = ""
    content: str = ""

    @property
    def interrupted(self) -> bool:
        """It is no text, but the news of a barge-in."""
        if not self.content.lstrip().startswith("{"):
            return False
        try:
            fields = msgspec.json.decode(self.content)
        except (msgspec.MsgspecError, RecursionError):
            return False
        return isinstance(fields, dict) and fields.get("interrupted") is True


class AudioOutput(msgspec.Struct, rename="camel"):
    """Sound of a block."""

    content_id: str = ""
    content: bytes = b""


class ToolUse(msgspec.Struct, rename="camel"):
    """A call."""

    tool_name: str
    tool_use_id: str
    content_id: str = ""
    content: str = "{}"

    @property
    def arguments(self) -> str:
        """JSON; sometimes it comes as a string in which the JSON stands once more."""
        try:
            inner = msgspec.json.decode(self.content)
        except (msgspec.MsgspecError, RecursionError):
            return self.content
        return inner if isinstance(inner, str) else self.content


class _Tokens(msgspec.Struct, rename="camel"):
    speech_tokens: int = 0
    text_tokens: int = 0


class _Both(msgspec.Struct):
    input: _Tokens = msgspec.field(default_factory=_Tokens)
    output: _Tokens = msgspec.field(default_factory=_Tokens)


class _Details(msgspec.Struct):
    delta: _Both = msgspec.field(default_factory=_Both)


class UsageEvent(msgspec.Struct):
    """What it cost since the last one."""

    details: _Details = msgspec.field(default_factory=_Details)

    @property
    def usage(self) -> dict[str, int]:
        """Fields of `Usage`; nothing when it cost nothing."""
        spoken, said = self.details.delta.input, self.details.delta.output
        found = {
            "input_tokens": spoken.speech_tokens + spoken.text_tokens,
            "output_tokens": said.speech_tokens + said.text_tokens,
            "input_audio_tokens": spoken.speech_tokens,
            "output_audio_tokens": said.speech_tokens,
        }
        return found if any(found.values()) else {}


Output = CompletionStart | CompletionEnd | ContentStart | ContentEnd | TextOutput | AudioOutput | ToolUse | UsageEvent
_KINDS: Final[Mapping[str, msgspec.json.Decoder[Output]]] = {
    "completionStart": msgspec.json.Decoder(CompletionStart),
    "completionEnd": msgspec.json.Decoder(CompletionEnd),
    "contentStart": msgspec.json.Decoder(ContentStart),
    "contentEnd": msgspec.json.Decoder(ContentEnd),
    "textOutput": msgspec.json.Decoder(TextOutput),
    "audioOutput": msgspec.json.Decoder(AudioOutput),
    "toolUse": msgspec.json.Decoder(ToolUse),
    "usageEvent": msgspec.json.Decoder(UsageEvent),
}


class _Chunk(msgspec.Struct):
    inner: bytes = msgspec.field(name="bytes")


class _Envelope(msgspec.Struct):
    event: dict[str, msgspec.Raw]


_encode = msgspec.json.Encoder().encode
_chunk = msgspec.json.Decoder(_Chunk).decode
_envelope = msgspec.json.Decoder(_Envelope).decode


def event(name: str, **fields: Any) -> bytes:
    """A message to send: an event with these fields."""
    body = base64.b64encode(_encode({"event": {name: fields}})).decode()
    return encode(HEADERS, b'{"bytes":"' + body.encode() + b'"}')


def read(data: bytes) -> Output | None:
    """What a message says; None where it says nothing that anybody here knows.

    Raises `UnreadableError`, and `ThrownError` for a failure of the service's.
    """
    try:
        headers, payload = decode(data)
        kind = headers.get(":message-type")
        if kind == "exception":
            raise ThrownError(str(headers.get(":exception-type", "exception")), _message(payload))
        if kind == "error":
            raise ThrownError(str(headers.get(":error-code", "error")), str(headers.get(":error-message", "")))
        if kind != "event" or headers.get(":event-type") != "chunk":
            return None
        found = _envelope(_chunk(payload).inner).event
        name = next((name for name in found if name in _KINDS), None)
        return None if name is None else _KINDS[name].decode(found[name])
    except (DamagedError, msgspec.MsgspecError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def _message(payload: bytes) -> str:
    try:
        fields = msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.MsgspecError:
        return payload[:300].decode("utf-8", "replace")
    return str(fields.get("message") or fields.get("Message") or "")
