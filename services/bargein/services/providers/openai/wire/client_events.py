"""Events that a client sends."""

from __future__ import annotations

from typing import Any

import msgspec

from .parts import WireItem

__all__ = [
    "AudioAppend",
    "AudioClear",
    "AudioCommit",
    "ClientEvent",
    "ItemCreate",
    "ItemDelete",
    "ItemRetrieve",
    "ItemTruncate",
    "OutputClear",
    "ResponseCancel",
    "ResponseCreate",
    "SessionUpdate",
]


class _Client(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    event_id: str | None = None


class SessionUpdate(_Client, kw_only=True, omit_defaults=True, tag="session.update"):
    """A change of the session. Fields that are left out stay as they are; null clears a field."""

    session: dict[str, Any]


class AudioAppend(_Client, kw_only=True, omit_defaults=True, tag="input_audio_buffer.append"):
    """More of the user's sound."""

    audio: bytes


class AudioCommit(_Client, kw_only=True, omit_defaults=True, tag="input_audio_buffer.commit"):
    """The request to make an item of the buffered sound."""


class AudioClear(_Client, kw_only=True, omit_defaults=True, tag="input_audio_buffer.clear"):
    """The request to discard the buffered sound."""


class ItemCreate(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.create"):
    """A new item for the conversation."""

    item: WireItem
    previous_item_id: str | None = None


class ItemRetrieve(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.retrieve"):
    """The request to send an item back."""

    item_id: str


class ItemDelete(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.delete"):
    """The request to delete an item."""

    item_id: str


class ItemTruncate(_Client, kw_only=True, omit_defaults=True, tag="conversation.item.truncate"):
    """The request to cut an item's audio to what was heard."""

    item_id: str
    audio_end_ms: int
    # The API requires this field. `omit_defaults` would leave out a plain default of 0, but not one made by a factory.
    content_index: int = msgspec.field(default_factory=int)


class ResponseCreate(_Client, kw_only=True, omit_defaults=True, tag="response.create"):
    """The request for a response."""

    response: dict[str, Any] | None = None


class ResponseCancel(_Client, kw_only=True, omit_defaults=True, tag="response.cancel"):
    """The request to stop a response: the one in progress where no id is given."""

    response_id: str | None = None


class OutputClear(_Client, kw_only=True, omit_defaults=True, tag="output_audio_buffer.clear"):
    """The request to discard sound that the server has not played yet (WebRTC and SIP)."""


ClientEvent = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
    | OutputClear
)
