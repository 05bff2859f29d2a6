"""Ultravox's messages as they are on the wire. Audio is not among them: it is binary, without an envelope."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "CallStarted",
    "ClientMessage",
    "ClientToolInvocation",
    "ClientToolResult",
    "ForcedAgentMessage",
    "PlaybackClearBuffer",
    "ServerMessage",
    "State",
    "TranscriptMessage",
    "UserTextMessage",
    "decode_client",
    "decode_server",
    "encode",
]


class UserTextMessage(msgspec.Struct, kw_only=True, tag_field="type", tag="user_text_message", rename="camel"):
    """Text of the user. An empty text with urgency `immediate` stops the agent."""

    text: str
    urgency: Literal["immediate", "soon", "later"] = "soon"
    defer_response: bool = False


class ClientToolResult(
    msgspec.Struct, kw_only=True, tag_field="type", tag="client_tool_result", rename="camel", omit_defaults=True
):
    """The result of a tool, or the error that it met."""

    invocation_id: str
    result: str | None = None
    # These two must always be on the wire. A default from a factory is not omitted by `omit_defaults`.
    response_type: str = msgspec.field(default_factory=lambda: "tool-response")
    agent_reaction: str = msgspec.field(default_factory=lambda: "speaks")
    error_type: str | None = None
    error_message: str | None = None


class ForcedAgentMessage(msgspec.Struct, kw_only=True, tag_field="type", tag="forced_agent_message", rename="camel"):
    """A text that the agent speaks word for word."""

    content: str
    uninterruptible: bool = False
    urgency: Literal["immediate", "soon"] = "soon"


ClientMessage = UserTextMessage | ClientToolResult | ForcedAgentMessage


class CallStarted(msgspec.Struct, kw_only=True, tag_field="type", tag="call_started", rename="camel"):
    """The call is ready."""

    call_id: str = ""


class State(msgspec.Struct, kw_only=True, tag_field="type", tag="state"):
    """The state of the agent: `listening`, `thinking`, `speaking` or `idle`."""

    state: str


class TranscriptMessage(msgspec.Struct, kw_only=True, tag_field="type", tag="transcript", omit_defaults=True):
    """A transcript of the user or the agent: all of it so far (`text`), or the next piece (`delta`)."""

    role: str
    medium: str = "voice"
    text: str | None = None
    delta: str | None = None
    final: bool = False
    ordinal: int = msgspec.field(default_factory=int)


class ClientToolInvocation(
    msgspec.Struct, kw_only=True, tag_field="type", tag="client_tool_invocation", rename="camel"
):
    """A tool call. The agent waits for its result."""

    tool_name: str
    invocation_id: str
    parameters: dict[str, Any] = {}


class PlaybackClearBuffer(msgspec.Struct, tag_field="type", tag="playback_clear_buffer"):
    """The agent was interrupted: drop audio that has not been played."""


ServerMessage = CallStarted | State | TranscriptMessage | ClientToolInvocation | PlaybackClearBuffer


class _Tag(msgspec.Struct):
    type: str


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_tag = msgspec.json.Decoder(_Tag)
_client: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_server: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in (*ClientMessage.__args__, *ServerMessage.__args__))


def encode(message: ClientMessage | ServerMessage) -> str:
    """Encode a message as JSON.

    Args:
        message: A message of either direction.
    """
    return _encoder.encode(message).decode()


def decode_server(data: str) -> ServerMessage | str:
    """Decode a message of the server; return the type of an unknown one. Raises `ValueError` for other data.

    Args:
        data: The message as JSON.
    """
    try:
        return _server.decode(data)
    except UNREADABLE as error:
        return _unknown_type(data, error)


def decode_client(data: str) -> ClientMessage | str:
    """Decode a message of a client; return the type of an unknown one. Raises `ValueError` for other data.

    Args:
        data: The message as JSON.
    """
    try:
        return _client.decode(data)
    except UNREADABLE as error:
        return _unknown_type(data, error)


def _unknown_type(data: str, error: Exception) -> str:
    try:
        kind = _tag.decode(data).type
    except UNREADABLE:
        raise ValueError(f"expected a JSON object with a type: {error}") from None
    if kind in _KNOWN:
        raise ValueError(f"{kind}: {error}") from None
    return kind
