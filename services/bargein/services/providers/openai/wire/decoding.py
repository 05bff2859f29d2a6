"""JSON text to events and back.

What is unknown is ignored: a reader gets the type of an unknown event as a string. Events of the beta interface, which
Azure and others still speak, are read as their GA counterparts: `BETA_NAMES` lists them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .client_events import ClientEvent
from .parts import WireResponse
from .server_events import ServerEvent

__all__ = [
    "BETA_NAMES",
    "MalformedError",
    "decode_bare_ending",
    "decode_client_event",
    "decode_server_event",
    "encode",
]

BETA_NAMES: Final = {
    "conversation.item.created": "conversation.item.added",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}
"""Names of the beta's events, each with its GA name. The fields are the same."""


class MalformedError(ValueError):
    """A message that is not an event: no JSON, no object, no `type`, or fields of the wrong kind."""


class _Head(msgspec.Struct):
    type: str


class _BareResponse(msgspec.Struct):
    id: str
    status: str | None = None


class _BareDone(msgspec.Struct, tag_field="type", tag="response.done"):
    response: _BareResponse


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(_Head)
_bare = msgspec.json.Decoder(_BareDone)
_fields = msgspec.json.Decoder(dict[str, Any])
_client: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(ClientEvent)
_server: msgspec.json.Decoder[ServerEvent] = msgspec.json.Decoder(ServerEvent)
_CLIENT_TYPES: Final = frozenset(str(kind.__struct_config__.tag) for kind in ClientEvent.__args__)
_SERVER_TYPES: Final = frozenset(str(kind.__struct_config__.tag) for kind in ServerEvent.__args__)


def encode(event: ClientEvent | ServerEvent) -> str:
    """Return an event as a text message.

    Args:
        event: An event of either direction.
    """
    return _encoder.encode(event).decode()


def decode_server_event(data: str | bytes) -> ServerEvent | str:
    """Return a server's event, or its type where the type is unknown. Raises `MalformedError`.

    Args:
        data: The message as JSON.
    """
    try:
        return _server.decode(data)
    except _UNREADABLE as error:
        kind = _unknown_type(data, error, _SERVER_TYPES)
    if kind not in BETA_NAMES:
        return kind
    try:
        event: ServerEvent = msgspec.convert({**_fields.decode(data), "type": BETA_NAMES[kind]}, ServerEvent)
    except _UNREADABLE as error:
        raise MalformedError(f"{kind}: {error}") from None
    return event


def decode_bare_ending(data: str | bytes) -> WireResponse | None:
    """Return the id and status of a `response.done` whose other fields cannot be read; None for anything else.

    A response's end must not be missed, or its reader waits for ever.

    Args:
        data: The message as JSON.
    """
    try:
        bare = _bare.decode(data).response
    except _UNREADABLE:
        return None
    return WireResponse(id=bare.id, status=bare.status)


def decode_client_event(data: str | bytes) -> ClientEvent | str:
    """Return a client's event, or its type where the type is unknown. Raises `MalformedError`.

    Args:
        data: The message as JSON.
    """
    try:
        return _client.decode(data)
    except _UNREADABLE as error:
        return _unknown_type(data, error, _CLIENT_TYPES)


def _unknown_type(data: str | bytes, error: Exception, known: frozenset[str]) -> str:
    """Return the type of a message that could not be decoded, unless that is a known type."""
    try:
        kind = _head.decode(data).type
    except _UNREADABLE:
        raise MalformedError(f"expected a JSON object with a type: {error}") from None
    if kind in known:
        raise MalformedError(f"{kind}: {error}") from None
    return kind
