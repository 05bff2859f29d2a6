"""Ultravox's messages, as they stand on the wire. Sound is not among them: it is binary, and has no envelope."""

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
    """What the user wrote. Empty and immediate, it stops the agent."""

    text: str
    urgency: Literal["immediate", "soon", "later"] = "soon"
    defer_response: bool = False


class ClientToolResult(
    msgspec.Struct, kw_only=True, tag_field="type", tag="client_tool_result", rename="camel", omit_defaults=True
):
    """What a tool answered, or why it could not."""

    invocation_id: str
    result: str | None = None
    # Always on the wire, so that their values are no defaults.
    response_type: str = msgspec.field(default_factory=lambda: "tool-response")
    agent_reaction: str = msgspec.field(default_factory=lambda: "speaks")
    error_type: str | None = None
    error_message: str | None = None


class ForcedAgentMessage(msgspec.Struct, kw_only=True, tag_field="type", tag="forced_agent_message", rename="camel"):
    """What the agent says, word for word."""

    content: str
    uninterruptible: bool = False
    urgency: Literal["immediate", "soon"] = "soon"


ClientMessage = UserTextMessage | ClientToolResult | ForcedAgentMessage


class CallStarted(msgspec.Struct, kw_only=True, tag_field="type", tag="call_started", rename="camel"):
    """The call can be used."""

    call_id: str = ""


class State(msgspec.Struct, kw_only=True, tag_field="type", tag="state"):
    """What the agent does: `listening`, `thinking`, `speaking`, `idle`."""

    state: str


class TranscriptMessage(msgspec.Struct, kw_only=True, tag_field="type", tag="transcript", omit_defaults=True):
    """What either said: all of it so far, or more of it."""

    role: str
    medium: str = "voice"
    text: str | None = None
    delta: str | None = None
    final: bool = False
    ordinal: int = msgspec.field(default_factory=int)


class ClientToolInvocation(
    msgspec.Struct, kw_only=True, tag_field="type", tag="client_tool_invocation", rename="camel"
):
    """The model wants a tool; until it is answered, nothing else happens."""

    tool_name: str
    invocation_id: str
    parameters: dict[str, Any] = {}


class PlaybackClearBuffer(msgspec.Struct, tag_field="type", tag="playback_clear_buffer"):
    """What was sent and not heard is not wanted any more: the agent was interrupted."""


ServerMessage = CallStarted | State | TranscriptMessage | ClientToolInvocation | PlaybackClearBuffer


class _Head(msgspec.Struct):
    type: str


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(_Head)
_client: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_server: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in (*ClientMessage.__args__, *ServerMessage.__args__))


def encode(message: ClientMessage | ServerMessage) -> str:
    """A message as text."""
    return _encoder.encode(message).decode()


def decode_server(data: str) -> ServerMessage | str:
    """A message of the server's, or the type of one that is unknown here. Raises `ValueError` for what is none."""
    try:
        return _server.decode(data)
    except UNREADABLE as error:
        return _unknown(data, error)


def decode_client(data: str) -> ClientMessage | str:
    """A message of a client's, or the type of one that is unknown here. Raises `ValueError` for what is none."""
    try:
        return _client.decode(data)
    except UNREADABLE as error:
        return _unknown(data, error)


def _unknown(data: str, error: Exception) -> str:
    try:
        kind = _head.decode(data).type
    except UNREADABLE:
        raise ValueError(f"expected a JSON object with a type: {error}") from None
    if kind in _KNOWN:
        raise ValueError(f"{kind}: {error}") from None
    return kind
