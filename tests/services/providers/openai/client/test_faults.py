"""Errors of the server, and messages that cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.providers.openai import wire
from bargein.services.providers.openai.client._event_reader import BUSY_CODE, FATAL_CODES, HARMLESS_CODES
from bargein.services.providers.openai.client.protocol import OpenAIProtocol
from bargein.services.realtime import Event, ProtocolFault, ResponseBegan

from .protocol_kit import SETTINGS, hears, message, protocol


def complains(ours: OpenAIProtocol, **error: Any) -> list[Event]:
    return hears(ours, "error", error={"type": "invalid_request_error", "message": "m", "param": None, **error})


@pytest.mark.parametrize("code", sorted(FATAL_CODES))
def test_fatal_errors(code: str) -> None:
    """What no other try would change."""
    assert complains(protocol(), code=code) == [ProtocolFault(message="m", code=code, fatal=True)]


def test_the_fatal_errors_are_those_of_the_interface() -> None:
    """At least the four that are documented."""
    known = {"insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached"}
    assert known <= FATAL_CODES
    assert not FATAL_CODES & (HARMLESS_CODES | {BUSY_CODE, "session_expired", "rate_limit_exceeded"})


@pytest.mark.parametrize("code", ["response_cancel_not_active", "input_audio_buffer_commit_empty"])
def test_harmless_errors(code: str) -> None:
    """Commands that crossed with the truth are nobody's business."""
    assert complains(protocol(), code=code) == []


def test_busy() -> None:
    """A response was asked for while one was being made: not lost, but to be asked for again."""
    ours = protocol()
    ask = message(next(iter(ours.respond())))
    assert complains(ours, code="conversation_already_has_active_response", event_id=ask["event_id"]) == [
        ProtocolFault(message="m", code=BUSY_CODE, busy=True)
    ]


def test_refused() -> None:
    """An error that names our request means that its response will not come; one that names another does not."""
    ours = protocol()
    first, second = (message(next(iter(ours.respond()))) for _ in range(2))
    assert first["event_id"] != second["event_id"]
    for ask in (first, second):
        (fault,) = complains(ours, code="invalid_value", event_id=ask["event_id"])
        assert fault == ProtocolFault(message="m", code="invalid_value", refused=True)
    for other in (None, "somebody-elses"):
        assert complains(ours, code="invalid_value", event_id=other) == [
            ProtocolFault(message="m", code="invalid_value")
        ]


@pytest.mark.parametrize("about", [{"event_id": "settings"}, {"param": "session.audio.output.voice"}])
def test_refused_settings_are_fatal_before_the_session_is_ready(about: dict[str, str]) -> None:
    """No session.updated will come, and another connection would meet the same. A later update may fail alone."""
    ours = protocol()
    (opening,) = ours.open_session(SETTINGS)
    assert message(opening)["event_id"] == "settings"
    assert complains(ours, code="invalid_value", **about) == [
        ProtocolFault(message="m", code="invalid_value", fatal=True)
    ]
    hears(ours, "session.updated", session={"id": "s"})
    assert complains(ours, code="invalid_value", **about) == [ProtocolFault(message="m", code="invalid_value")]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": None, "type": "server_error"}, ProtocolFault(message="m", code="server_error")),
        ({"code": "session_expired"}, ProtocolFault(message="m", code="session_expired")),
        ({"code": "rate_limit_exceeded"}, ProtocolFault(message="m", code="rate_limit_exceeded")),
        ({"code": "x", "message": ""}, ProtocolFault(message="x", code="x")),
    ],
)
def test_other_errors(error: dict[str, Any], expected: ProtocolFault) -> None:
    """They are told, and the connection stays."""
    assert complains(protocol(), **error) == [expected]


@pytest.mark.parametrize(
    ("error", "code", "fatal"),
    [
        ({"code": "insufficient_quota", "message": None}, "insufficient_quota", True),
        ({"code": 429, "message": "slower"}, "429", False),
    ],
)
def test_errors_of_other_shapes(error: dict[str, Any], code: str, fatal: bool) -> None:
    """Servers of the same protocol write numbers and nulls here; the code is what matters."""
    (fault,) = hears(protocol(), "error", error=error)
    assert isinstance(fault, ProtocolFault)
    assert (fault.code, fault.fatal) == (code, fatal)


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"session.updated","session":{}}',
        b"\x00\x01",
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"type":[]}',
        '{"type":"response.created","response":null}',
        '{"type":"response.output_audio.delta","response_id":7,"delta":"AAA="}',
        '{"type":"response.output_audio.delta","response_id":"r","delta":"%"}',
        '{"type":"response.output_text.delta","response_id":"r","delta":null}',
        '{"type":"session.updated","session":[]}',
    ],
)
def test_what_cannot_be_read_is_a_fault(data: str | bytes) -> None:
    """The next message is understood."""
    ours = protocol()
    (fault,) = ours.receive(data)
    assert isinstance(fault, ProtocolFault)
    assert fault.message
    assert (fault.fatal, fault.busy, fault.refused) == (False, False, False)
    assert hears(ours, "response.created", response={"id": "r"}) == [ResponseBegan(response_id="r")]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = sorted(str(kind.__struct_config__.tag) for kind in wire.ServerEvent.__args__)
FIELDS = sorted({name for kind in wire.ServerEvent.__args__ for name in kind.__struct_fields__} - {"session"})
INSIDE = ["id", "type", "status", "status_details", "output", "usage", "metadata", "call_id", "name", "arguments"]
BENDABLE = ANY | st.dictionaries(st.sampled_from(INSIDE), ANY | st.just("function_call"), max_size=5)


@given(st.lists(ANY, max_size=3))
def test_any_json_raises_nothing(values: list[Any]) -> None:
    """Whatever is sent, in whatever order."""
    ours = protocol()
    for value in values:
        assert all(isinstance(event, Event) for event in ours.receive(json.dumps(value)))


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), BENDABLE)), max_size=4))
def test_any_fields_raise_nothing(messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Known types with anything in their fields are understood, or a fault."""
    ours = protocol()
    for kind, fields in messages:
        assert all(isinstance(event, Event) for event in ours.receive(json.dumps({**fields, "type": kind})))


@given(st.binary() | st.text())
def test_any_bytes_raise_nothing(data: str | bytes) -> None:
    """Noise is at most one fault."""
    events = list(protocol().receive(data))
    assert all(isinstance(event, ProtocolFault) for event in events)
    assert len(events) <= 1
