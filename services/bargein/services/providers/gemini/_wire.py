"""The messages of the Gemini Live API, as they stand on the wire: those of the server, and how ours are encoded.

What nobody here reads is left out, and what is unknown is ignored. What is only told on (usage, voice activity) is not
looked into before it is used, so that an oddity in it does not cost the rest of a message. Sound is base64 in JSON and
`bytes` here.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ContentPart",
    "FunctionCall",
    "MalformedMessageError",
    "ServerContent",
    "ServerMessage",
    "Transcription",
    "decode",
    "encode",
]


class MalformedMessageError(ValueError):
    """A message that is none of the server's: no JSON, no object, or fields of the wrong kind."""


class Blob(msgspec.Struct, rename="camel"):
    """Media."""

    mime_type: str | None = None
    data: bytes = b""


class ContentPart(msgspec.Struct, rename="camel"):
    """A part of what the model makes."""

    text: str | None = None
    thought: bool | None = None
    """It is reasoning, and not to be spoken."""
    inline_data: Blob | None = None


class Content(msgspec.Struct, rename="camel"):
    """What the model makes."""

    parts: list[ContentPart] | None = None


class Transcription(msgspec.Struct, rename="camel"):
    """More of what was said."""

    text: str | None = None
    finished: bool | None = None


class ServerContent(msgspec.Struct, rename="camel"):
    """The model's turn, and the user's as it was understood. Several may stand in one message."""

    model_turn: Content | None = None
    input_transcription: Transcription | None = None
    output_transcription: Transcription | None = None
    interrupted: bool | None = None
    generation_complete: bool | None = None
    """All has been made; the server presumes that it still plays."""
    turn_complete: bool | None = None


class FunctionCall(msgspec.Struct, rename="camel"):
    """The model wants a tool."""

    name: str
    id: str | None = None
    args: dict[str, Any] | None = None


class FunctionCalls(msgspec.Struct, rename="camel"):
    """The model wants tools."""

    function_calls: list[FunctionCall] | None = None


class Cancellation(msgspec.Struct, rename="camel"):
    """The model wants no answers to these calls."""

    ids: list[str] | None = None


class GoAway(msgspec.Struct, rename="camel"):
    """The server will close the connection."""

    time_left: str | None = None
    """A duration: `49.5s`."""


class Resumption(msgspec.Struct, rename="camel"):
    """The session could be taken up by this handle."""

    new_handle: str | None = None
    resumable: bool | None = None


class ServerMessage(msgspec.Struct, rename="camel"):
    """A message of the server's."""

    setup_complete: dict[str, Any] | None = None
    server_content: ServerContent | None = None
    tool_call: FunctionCalls | None = None
    tool_call_cancellation: Cancellation | None = None
    go_away: GoAway | None = None
    session_resumption_update: Resumption | None = None
    usage_metadata: Any = None
    voice_activity: Any = None


_decoder = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()


def encode(message: dict[str, Any]) -> str:
    """A message of ours."""
    return _encoder.encode(message).decode()


def decode(data: str | bytes) -> ServerMessage:
    """A message of the server's, from a text or a binary frame. Raises `MalformedMessageError`."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise MalformedMessageError(str(error)) from None
