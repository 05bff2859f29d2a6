"""Requests that cannot be fulfilled: each gets an error, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from bargein.services.frames import Configure
from bargein.services.providers.openai.server._core.session import random_id
from tests.services.providers.openai.server.server_kit import Hand, answer, error, types

UPDATES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "session.type"),
    ({"type": "transcription"}, "invalid_value", "session.type"),
    ({"type": "realtime", "temperature": 1}, "unknown_parameter", "session.temperature"),
    ({"type": "realtime", "output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
    ({"type": "realtime", "instructions": 1}, "invalid_type", "session.instructions"),
    ({"type": "realtime", "max_output_tokens": 5000}, "integer_out_of_range", "session.max_output_tokens"),
    ({"type": "realtime", "audio": 1}, "invalid_type", "session.audio"),
    ({"type": "realtime", "audio": {"output": {"speed": 9}}}, "decimal_out_of_range", "session.audio.output.speed"),
    ({"type": "realtime", "audio": {"output": {"voice": ""}}}, "invalid_type", "session.audio.output.voice"),
    (
        {"type": "realtime", "audio": {"input": {"format": {"type": "mp3"}}}},
        "invalid_value",
        "session.audio.input.format.type",
    ),
    (
        {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (
        {"type": "realtime", "audio": {"input": {"format": {"rate": 16_000}}}},
        "missing_required_parameter",
        "session.audio.input.format.type",
    ),
    (
        {"type": "realtime", "audio": {"input": {"turn_detection": {"threshold": 0.1}}}},
        "missing_required_parameter",
        "session.audio.input.turn_detection.type",
    ),
    (
        {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
        "decimal_out_of_range",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "x"}}}},
        "invalid_value",
        "session.audio.input.turn_detection.eagerness",
    ),
    ({"type": "realtime", "tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
    ({"type": "realtime", "tools": [{"type": "mcp"}]}, "invalid_value", "session.tools[0].type"),
]


@pytest.mark.parametrize(("session", "code", "param"), UPDATES)
def test_an_update_that_cannot_be_changes_nothing(session: dict[str, Any], code: str, param: str) -> None:
    """The error names the code, the field and the event, and the session stays as it was."""
    hand = Hand()
    before = hand.core.session
    problem = error(hand.client("session.update", session=session, event_id="mine"))
    assert (problem["type"], problem["code"], problem["param"]) == ("invalid_request_error", code, param)
    assert problem["event_id"] == "mine"
    assert hand.core.session is before
    assert hand.frames() == []


@pytest.mark.parametrize("field", ["model", "id", "object", "expires_at"])
def test_fields_that_only_the_server_sets_are_ignored(field: str) -> None:
    """The rest of the update takes effect, and there is no error: the Agents SDKs always name a model."""
    hand = Hand()
    before = hand.core.session
    (updated,) = hand.update(**{field: "another"}, instructions="Be brief.")
    assert updated["session"] == {**before, "instructions": "Be brief."}
    assert hand.frames() == [Configure(instructions="Be brief.")]


def test_one_odd_field_does_not_sink_the_rest() -> None:
    """The others take effect; each odd one is an error that names it and the client's event."""
    hand = Hand()
    odd = {"temperature": 0.8, "audio": {"input": {"noise_reduction": {"type": "loud"}}, "output": {"speed": 1.2}}}
    events = hand.client(
        "session.update", session={"type": "realtime", "instructions": "Be brief.", **odd}, event_id="mine"
    )
    assert types(events) == ["session.updated", "error", "error"]
    assert events[0]["session"]["instructions"] == "Be brief."
    assert events[0]["session"]["audio"]["output"]["speed"] == 1.2
    assert events[0]["session"]["audio"]["input"]["noise_reduction"] is None
    fields = [(each["error"]["param"], each["error"]["event_id"]) for each in events[1:]]
    assert fields == [("session.temperature", "mine"), ("session.audio.input.noise_reduction.type", "mine")]
    assert hand.frames() == [Configure(instructions="Be brief.")]


MESSAGE = {"type": "message", "role": "user"}
REQUESTS: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"type": "session.destroy"}, "invalid_value", "type"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "?"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": 1}, "invalid_type", "audio"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ({"type": "response.cancel"}, "response_cancel_not_active", None),
    ({"type": "response.create", "response": {"foo": 1}}, "unknown_parameter", "response.foo"),
    ({"type": "response.create", "response": {"input": [MESSAGE]}}, "unsupported_value", "response.input"),
    ({"type": "response.create", "response": {"metadata": {"a": 1}}}, "invalid_type", "response.metadata"),
    ({"type": "output_audio_buffer.clear"}, None, "type"),
    ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id", "item_id"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "item_delete_invalid_item_id", "item_id"),
    (
        {"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": 1, "content_index": 0},
        "item_truncate_invalid_item_id",
        "item_id",
    ),
    ({"type": "conversation.item.truncate", "item_id": "x"}, "missing_required_parameter", "audio_end_ms"),
    ({"type": "conversation.item.create", "item": {}}, "missing_required_parameter", "item.type"),
    ({"type": "conversation.item.create", "item": {"type": "song"}}, "invalid_value", "item.type"),
    ({"type": "conversation.item.create", "item": {"type": "message"}}, "missing_required_parameter", "item.role"),
    ({"type": "conversation.item.create", "item": MESSAGE}, "missing_required_parameter", "item.content"),
    (
        {"type": "conversation.item.create", "item": {**MESSAGE, "role": "cat", "content": []}},
        "invalid_value",
        "item.role",
    ),
    (
        {"type": "conversation.item.create", "item": {**MESSAGE, "content": [{"type": "output_text", "text": ""}]}},
        "invalid_value",
        "item.content[0].type",
    ),
    (
        {"type": "conversation.item.create", "item": {**MESSAGE, "content": [{"type": "input_text"}]}},
        "missing_required_parameter",
        "item.content[0].text",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {**MESSAGE, "content": [{"type": "input_image", "image_url": "http://x/y.png"}]},
        },
        "invalid_value",
        "item.content[0].image_url",
    ),
    (
        {"type": "conversation.item.create", "item": {**MESSAGE, "content": [], "id": "x" * 33}},
        "string_above_max_length",
        "item.id",
    ),
    (
        {"type": "conversation.item.create", "item": {**MESSAGE, "content": []}, "previous_item_id": "x"},
        "item_create_invalid_previous_item_id",
        "previous_item_id",
    ),
    (
        {"type": "conversation.item.create", "item": {"type": "function_call", "name": "f"}},
        "missing_required_parameter",
        "item.arguments",
    ),
    (
        {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "x", "output": ""}},
        "invalid_tool_call_id",
        "item.call_id",
    ),
]


@pytest.mark.parametrize(("event", "code", "param"), REQUESTS, ids=lambda value: str(value)[:60])
def test_a_request_that_cannot_be_is_an_error(event: dict[str, Any], code: str | None, param: str | None) -> None:
    """It names the code, the field and the event that it is about; nothing else comes of it."""
    hand = Hand()
    type = event.pop("type")
    events = hand.client(type, event_id="mine", **event)
    event["type"] = type
    problem = error(events)
    assert len(events) == 1
    assert (problem["type"], problem["code"], problem["param"]) == ("invalid_request_error", code, param)
    assert problem["event_id"] == "mine"
    assert problem["message"]
    assert hand.frames() == []


@pytest.mark.parametrize("data", ["", "{", "[]", '"x"', "\xff", "{}", '{"type": 1}', b"\xff\xfe"])
def test_what_is_no_event_is_an_error(data: str | bytes) -> None:
    """Whatever comes, the session continues."""
    hand = Hand()
    assert error(hand.raw(data))["type"] == "invalid_request_error"
    assert types(hand.say())[0] == "conversation.item.added"


def test_only_one_response_at_a_time() -> None:
    """A second request is refused while the first is in progress, and a cancellation must name the right one."""
    hand = Hand()
    response = hand.client("response.create")[0]["response"]["id"]
    problem = error(hand.client("response.create"))
    assert problem["code"] == "conversation_already_has_active_response"
    assert response in problem["message"]
    assert error(hand.client("response.cancel", response_id="resp_x"))["code"] == "response_cancel_not_active"


def test_what_cannot_be_truncated() -> None:
    """The user's items, text, unknown contents and negative lengths."""
    hand = Hand()
    user = hand.say()[0]["item"]["id"]
    hand.client("response.create")
    agent = answer(hand)[0]["item"]["id"]

    def cut(item: str, ms: int, index: int = 0) -> Any:
        fields = {"item_id": item, "audio_end_ms": ms, "content_index": index}
        return error(hand.client("conversation.item.truncate", **fields))["code"]

    assert cut(user, 0) == "unsupported_content_type"
    assert [cut(agent, 10, 1), cut(agent, -1), cut(agent, 101)] == ["invalid_value"] * 3


def test_a_voice_is_for_good_once_it_was_heard() -> None:
    """It may change before the first sound, and not after."""
    hand = Hand()
    assert types(hand.update(audio={"output": {"voice": "cedar"}})) == ["session.updated"]
    hand.client("response.create")
    answer(hand)
    assert error(hand.update(audio={"output": {"voice": "ash"}}))["code"] == "cannot_update_voice"
    assert types(hand.update(audio={"output": {"voice": "cedar"}})) == ["session.updated"]
    other = {"audio": {"output": {"voice": "ash"}}}
    assert error(hand.client("response.create", response=other))["code"] == "cannot_update_voice"


def test_an_id_is_taken_once() -> None:
    """A client may choose an item's id, but not one that is there."""
    hand = Hand()
    item = {**MESSAGE, "id": "mine", "content": [{"type": "input_text", "text": "x"}]}
    assert hand.client("conversation.item.create", item=item)[0]["item"]["id"] == "mine"
    assert error(hand.client("conversation.item.create", item=item))["code"] == "item_create_duplicate_item_id"


def test_turn_detection_merges_within_its_kind() -> None:
    """A change of the kind brings that kind's defaults; within it the other fields stay."""
    hand = Hand()
    turns = {"type": "server_vad", "silence_duration_ms": 700}
    hand.update(audio={"input": {"turn_detection": turns}})
    hand.update(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.6}}})
    found = hand.core.session["audio"]["input"]["turn_detection"]
    assert (found["silence_duration_ms"], found["threshold"], found["prefix_padding_ms"]) == (700, 0.6, 300)
    hand.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    assert hand.core.session["audio"]["input"]["turn_detection"]["eagerness"] == "auto"


def test_ids_look_like_the_services() -> None:
    """A kind, 21 letters and digits, and never twice the same."""
    made = {random_id("item") for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) == 26 and each[5:].isalnum() for each in made)
