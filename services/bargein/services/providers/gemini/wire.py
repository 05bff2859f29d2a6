"""The messages of the Gemini Live API as they are on the wire: decoders for the server's, an encoder for the client's.

Unknown fields are ignored, and fields that this project does not read are left out. Usage and voice activity are
decoded as plain values, so that a surprise in them does not make the rest of the message unreadable. Audio is base64 in
the JSON and `bytes` here.
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
    """The data is not a message of the server: it is not a JSON object, or a field has the wrong type."""


class Blob(msgspec.Struct, rename="camel"):
    """Media data with its type."""

    mime_type: str | None = None
    data: bytes = b""


class ContentPart(msgspec.Struct, rename="camel"):
    """A part of the model's turn: text or media."""

    text: str | None = None
    thought: bool | None = None
    """Whether the part is reasoning, which must not be spoken."""
    inline_data: Blob | None = None


class Content(msgspec.Struct, rename="camel"):
    """Parts of the model's turn."""

    parts: list[ContentPart] | None = None


class Transcription(msgspec.Struct, rename="camel"):
    """The next piece of a transcript."""

    text: str | None = None
    finished: bool | None = None


class ServerContent(msgspec.Struct, rename="camel"):
    """The model's turn, and the transcript of the user's turn. One message can hold several of these fields."""

    model_turn: Content | None = None
    input_transcription: Transcription | None = None
    output_transcription: Transcription | None = None
    interrupted: bool | None = None
    generation_complete: bool | None = None
    """Whether the model has generated all of the turn. The server assumes that it is still playing."""
    turn_complete: bool | None = None


class FunctionCall(msgspec.Struct, rename="camel"):
    """One tool call."""

    name: str
    id: str | None = None
    args: dict[str, Any] | None = None


class FunctionCalls(msgspec.Struct, rename="camel"):
    """Tool calls of the model."""

    function_calls: list[FunctionCall] | None = None


class Cancellation(msgspec.Struct, rename="camel"):
    """Tool calls that the model has withdrawn."""

    ids: list[str] | None = None


class GoAway(msgspec.Struct, rename="camel"):
    """The notice that the server will close the connection."""

    time_left: str | None = None
    """A duration such as `49.5s`."""


class Resumption(msgspec.Struct, rename="camel"):
    """The handle by which the session can be resumed."""

    new_handle: str | None = None
    resumable: bool | None = None


class ServerMessage(msgspec.Struct, rename="camel"):
    """A message of the server."""

    setup_complete: dict[str, Any] | None = None
    server_content: ServerContent | None = None
    tool_call: FunctionCalls | None = None
    tool_call_cancellation: Cancellation | None = None
    go_away: GoAway | None = None
    session_resumption_update: Resumption | None = None
    usage_metadata: object = None
    voice_activity: object = None


_decoder = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()


def encode(message: dict[str, Any]) -> str:
    """Encode a message of the client. `bytes` become base64.

    Args:
        message: The message as a dictionary.
    """
    return _encoder.encode(message).decode()


def decode(data: str | bytes) -> ServerMessage:
    """Decode a message of the server, from a text or a binary frame. Raises `MalformedMessageError`.

    Args:
        data: The message as JSON.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise MalformedMessageError(str(error)) from None
