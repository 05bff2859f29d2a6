"""The codec of the wire: events are read and written unchanged, and malformed ones are refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.providers.openai import wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CLIENT: list[dict[str, Any]] = [
    {"type": "session.update", "event_id": "c1", "session": {"type": "realtime", "audio": {"input": None}}},
    {"type": "input_audio_buffer.append", "audio": "AAABAP//AgA="},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}},
    {"type": "conversation.item.create", "previous_item_id": "root", "item": {"type": "message", "id": "i"}},
    {"type": "conversation.item.retrieve", "item_id": "i"},
    {"type": "conversation.item.delete", "item_id": "i"},
    {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1480},
    {"type": "response.create"},
    {"type": "response.create", "response": {"conversation": "none", "metadata": {"a": "b"}}},
    {"type": "response.cancel"},
    {"type": "response.cancel", "response_id": "r"},
    {"type": "output_audio_buffer.clear"},
]


@pytest.mark.parametrize("data", CLIENT, ids=lambda data: data["type"])
def test_client_events_survive(data: dict[str, Any]) -> None:
    """All eleven client events are read, and written as they were: what is not set is not on the wire."""
    event = wire.decode_client_event(json.dumps(data))
    assert not isinstance(event, str)
    assert json.loads(wire.encode(event)) == data


def test_table_has_every_client_event() -> None:
    """The table above is complete."""
    assert {data["type"] for data in CLIENT} == {kind.__struct_config__.tag for kind in wire.ClientEvent.__args__}


@pytest.mark.parametrize("data", ['{"type":"ping"}', '{"type":"response.mcp_call.completed","item_id":7}'])
def test_unknown_types_decode_to_their_name(data: str) -> None:
    """An unknown event decodes to its type, whatever else is in it."""
    assert wire.decode_server_event(data) == json.loads(data)["type"]
    assert wire.decode_client_event(data) == json.loads(data)["type"]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "null",
        "[]",
        '"session.created"',
        "{}",
        '{"type":7}',
        '{"type":null}',
        '{"type":"error"}',
        '{"type":"error","error":7}',
        '{"type":"response.done","response":{}}',
        '{"type":"response.output_audio.delta","response_id":"r","delta":"no base64"}',
        '{"type":"response.output_audio.delta","response_id":"r"}',
        b"\xff\xfe",
        b'{"type":"\xff"}',
    ],
)
def test_malformed_events_are_refused(data: str | bytes) -> None:
    """Not JSON, not an object, no type, or a known type with fields of the wrong type: one error, which says what."""
    with pytest.raises(wire.MalformedError, match=r"."):
        wire.decode_server_event(data)


def test_the_type_is_named_in_the_refusal() -> None:
    """The log names the event and the field."""
    with pytest.raises(wire.MalformedError, match=r"response\.done: .*response"):
        wire.decode_server_event('{"type":"response.done","response":7}')


@given(JSON)
def test_any_json_is_an_event_or_refused(value: Any) -> None:
    """Nothing but `MalformedError` leaves the decoders."""
    for decode in (wire.decode_server_event, wire.decode_client_event):
        try:
            event = decode(json.dumps(value))
        except wire.MalformedError:
            continue
        assert isinstance(event, str | msgspec.Struct)


@given(st.binary() | st.text())
def test_any_bytes_are_an_event_or_refused(data: str | bytes) -> None:
    """Nothing but `MalformedError` leaves the decoders."""
    for decode in (wire.decode_server_event, wire.decode_client_event):
        try:
            decode(data)
        except wire.MalformedError:
            continue
