"""Nova Sonic's events as they are on the wire: JSON in messages of the event stream. Unknown fields are ignored."""

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
    "ServiceError",
    "TextOutput",
    "ToolUse",
    "UnreadableError",
    "UsageEvent",
    "decode_event",
    "encode_event",
]

HEADERS: Final = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
MAX_ERROR_BYTES: Final = 300


class UnreadableError(ValueError):
    """A message cannot be read."""


class ServiceError(Exception):
    """The service reports a failure and ends the stream.

    Args:
        kind: Name of the exception in the protocol.
        message: What the service says about it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind = kind
        """The kind of failure, such as `throttlingException`."""


class CompletionStart(msgspec.Struct):
    """The beginning of a completion, which can have many turns."""


class CompletionEnd(msgspec.Struct, rename="camel"):
    """The end of a completion."""

    stop_reason: str = ""


class ContentStart(msgspec.Struct, rename="camel"):
    """The beginning of a block."""

    content_id: str = ""
    type: str = ""
    """`TEXT`, `AUDIO` or `TOOL`."""
    role: str = ""
    """`USER`, `ASSISTANT` or `TOOL`."""
    additional_model_fields: str | None = None
    """A JSON string with the `generationStage`."""

    @property
    def final(self) -> bool:
        """Whether the text was spoken. Otherwise it is about to be spoken."""
        try:
            fields = msgspec.json.decode(self.additional_model_fields or "{}")
        except msgspec.MsgspecError:
            return False
        return isinstance(fields, dict) and fields.get("generationStage") == "FINAL"


class ContentEnd(msgspec.Struct, rename="camel"):
    """The end of a block."""

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
        """Whether this is not text but the notice of a barge-in, a JSON object in place of the text."""
        if not self.content.lstrip().startswith("{"):
            return False
        try:
            fields = msgspec.json.decode(self.content)
        except (msgspec.MsgspecError, RecursionError):
            return False
        return isinstance(fields, dict) and fields.get("interrupted") is True


class AudioOutput(msgspec.Struct, rename="camel"):
    """Audio of a block."""

    content_id: str = ""
    content: bytes = b""


class ToolUse(msgspec.Struct, rename="camel"):
    """A tool call."""

    tool_name: str
    tool_use_id: str
    content_id: str = ""
    content: str = "{}"

    @property
    def arguments(self) -> str:
        """The arguments as JSON. Some come as a JSON string that holds the JSON."""
        try:
            inner = msgspec.json.decode(self.content)
        except (msgspec.MsgspecError, RecursionError):
            return self.content
        return inner if isinstance(inner, str) else self.content


class _Tokens(msgspec.Struct, rename="camel"):
    speech_tokens: int = 0
    text_tokens: int = 0


class _Delta(msgspec.Struct):
    input: _Tokens = msgspec.field(default_factory=_Tokens)
    output: _Tokens = msgspec.field(default_factory=_Tokens)


class _Details(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class UsageEvent(msgspec.Struct):
    """The tokens used since the last usage event."""

    details: _Details = msgspec.field(default_factory=_Details)

    @property
    def usage(self) -> dict[str, int]:
        """The fields of a `Usage` frame; empty if no tokens were used."""
        input_, output = self.details.delta.input, self.details.delta.output
        fields = {
            "input_tokens": input_.speech_tokens + input_.text_tokens,
            "output_tokens": output.speech_tokens + output.text_tokens,
            "input_audio_tokens": input_.speech_tokens,
            "output_audio_tokens": output.speech_tokens,
        }
        return fields if any(fields.values()) else {}


Output = CompletionStart | CompletionEnd | ContentStart | ContentEnd | TextOutput | AudioOutput | ToolUse | UsageEvent
_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Output]]] = {
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
_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def encode_event(name: str, **fields: object) -> bytes:
    """Return an event of the client as a message of the event stream.

    Args:
        name: The name of the event, such as `audioInput`.
        **fields: Its fields.
    """
    body = base64.b64encode(_encode({"event": {name: fields}})).decode()
    return encode(HEADERS, b'{"bytes":"' + body.encode() + b'"}')


def decode_event(data: bytes) -> Output | None:
    """Return the event of a message; None for an event that is not known here.

    Args:
        data: The event as JSON.

    Raises:
        UnreadableError: The message cannot be read.
        ServiceError: The message reports a failure of the service.
    """
    try:
        headers, payload = decode(data)
        kind = headers.get(":message-type")
        if kind == "exception":
            raise ServiceError(str(headers.get(":exception-type", "exception")), _error_message(payload))
        if kind == "error":
            raise ServiceError(str(headers.get(":error-code", "error")), str(headers.get(":error-message", "")))
        if kind != "event" or headers.get(":event-type") != "chunk":
            return None
        fields = _decode_envelope(_decode_chunk(payload).inner).event
        name = next((name for name in fields if name in _DECODERS), None)
        return None if name is None else _DECODERS[name].decode(fields[name])
    except (DamagedError, msgspec.MsgspecError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def _error_message(payload: bytes) -> str:
    try:
        fields = msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.MsgspecError:
        return payload[:MAX_ERROR_BYTES].decode("utf-8", "replace")
    return str(fields.get("message") or fields.get("Message") or "")
