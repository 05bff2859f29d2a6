"""How a response ends, and when a tool is called."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bargein.services.realtime import (
    Event,
    OutOfBandCompleted,
    ProtocolFault,
    ResponseBegan,
    ResponseOver,
    TextPiece,
    ToolCallReceived,
)

from .protocol_kit import CALL, MADE, OF, hears, message, protocol

NONE = dict.fromkeys(("input_tokens", "output_tokens", "input_audio_tokens", "cached_tokens", "output_audio_tokens"), 0)


def over(**response: Any) -> list[Event]:
    return hears(protocol(), "response.done", response={"id": "r", "object": "realtime.response", **response})


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"status": "completed"}, ResponseOver(response_id="r")),
        ({"status": "completed", "status_details": None, "usage": None}, ResponseOver(response_id="r")),
        ({}, ResponseOver(response_id="r")),
        (
            {"status": "cancelled", "status_details": {"type": "cancelled", "reason": "turn_detected"}},
            ResponseOver(response_id="r", outcome="interrupted", reason="turn_detected"),
        ),
        (
            {"status": "cancelled", "status_details": {"type": "cancelled", "reason": "client_cancelled"}},
            ResponseOver(response_id="r", outcome="interrupted", reason="client_cancelled"),
        ),
        (
            {"status": "incomplete", "status_details": {"type": "incomplete", "reason": "max_output_tokens"}},
            ResponseOver(response_id="r", reason="max_output_tokens"),
        ),
        (
            {"status": "incomplete", "status_details": {"type": "incomplete", "reason": "content_filter"}},
            ResponseOver(response_id="r", reason="content_filter"),
        ),
        (
            {"status": "failed", "status_details": {"type": "failed", "error": {"type": "server_error", "code": None}}},
            ResponseOver(response_id="r", outcome="failed"),
        ),
        (
            {"status": "failed", "status_details": {"error": {"code": "rate_limit_exceeded", "message": "Slower."}}},
            ResponseOver(response_id="r", outcome="failed", reason="Slower."),
        ),
        ({"status": "failed"}, ResponseOver(response_id="r", outcome="failed")),
        (
            {"status": "completed", "status_details": "unimplemented", "usage": {}},
            ResponseOver(response_id="r", usage=NONE),
        ),
    ],
)
def test_how_a_response_ends(response: dict[str, Any], expected: ResponseOver) -> None:
    """Completed, cut off by a limit, interrupted or failed, and why."""
    assert over(**response) == [expected]


def test_a_response_that_fails_for_good() -> None:
    """When the reason would meet every other try, it is the end, and says why."""
    done, fault = over(
        status="failed", status_details={"error": {"code": "insufficient_quota", "message": "You exceeded it."}}
    )
    assert done == ResponseOver(response_id="r", outcome="failed", reason="You exceeded it.")
    assert fault == ProtocolFault(message="You exceeded it.", code="insufficient_quota", fatal=True)


def test_usage() -> None:
    """All that is counted, by the engine's names; kinds that are not told are none."""
    read = {"text_tokens": 10, "audio_tokens": 50, "cached_tokens": 32, "cached_tokens_details": {"text_tokens": 1}}
    usage = {
        "total_tokens": 80,
        "input_tokens": 60,
        "output_tokens": 20,
        "input_token_details": read,
        "output_token_details": {"text_tokens": 5, "audio_tokens": 15},
    }
    (done,) = over(status="cancelled", usage=usage)
    assert isinstance(done, ResponseOver)
    assert done.usage == {
        "input_tokens": 60,
        "output_tokens": 20,
        "input_audio_tokens": 50,
        "cached_tokens": 32,
        "output_audio_tokens": 15,
    }
    (done,) = over(status="completed", usage={"total_tokens": 3, "input_tokens": 1, "output_tokens": 2})
    assert isinstance(done, ResponseOver)
    assert (done.usage["input_tokens"], done.usage["output_tokens"], done.usage["cached_tokens"]) == (1, 2, 0)


@pytest.mark.parametrize(
    "details",
    [
        {"usage": {"total_tokens": None}},
        {"usage": {"input_token_details": {"audio_tokens": None}}},
        {"usage": {"output_tokens": 2.0}},
        {"metadata": {"try": 1}},
        {"status_details": "unimplemented"},
        {"status_details": {"error": {"code": "server_error", "message": None}}},
        {"output": [{"type": "message", "content": [{"type": "output_audio", "audio": "cut off"}]}]},
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_response_is_over_whatever_its_details(details: dict[str, Any]) -> None:
    """Its id is enough: a conversation must not wait for ever over a number."""
    events = over(status="completed", **details)
    assert [event.response_id for event in events if isinstance(event, ResponseOver)] == ["r"]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"status": "completed"}, ""),
        ({"status": "incomplete", "status_details": {"reason": "max_output_tokens"}}, "max_output_tokens"),
        ({"status": "failed", "status_details": {"error": {"code": "server_error", "message": "Oh."}}}, "Oh."),
    ],
)
def test_an_answer_apart_from_the_conversation(end: dict[str, Any], reason: str) -> None:
    """Known by the metadata it was asked for with, it is one event, and touches no response that goes on beside it."""
    ours = protocol()
    (ask,) = (message(each) for each in ours.out_of_band("summary", "Sum it up."))
    apart = {"id": "r", "conversation_id": None, "metadata": ask["response"]["metadata"]}
    events = hears(ours, "response.created", response=apart)
    events += hears(ours, "response.output_text.delta", **OF, delta="All ")
    events += hears(ours, "response.output_audio.delta", **OF, delta="AAA=")
    events += hears(ours, "response.output_text.delta", **OF, delta="well.")
    beside = hears(ours, "response.output_text.delta", response_id="s", item_id="j", delta="Hello")
    events += hears(ours, "response.output_text.done", **OF, text="All well.")
    assert events == []
    assert beside == [TextPiece(response_id="s", item_id="j", text="Hello")]
    events = hears(ours, "response.done", response={**apart, **end})
    assert events == [OutOfBandCompleted(name="summary", text="All well.", reason=reason)]


def test_metadata_of_others_mean_nothing() -> None:
    """A response with metadata of another kind is part of the conversation."""
    created = {"id": "s", "metadata": {"topic": "x"}}
    assert hears(protocol(), "response.created", response=created) == [ResponseBegan(response_id="s")]


def test_a_call_that_is_no_part_of_the_conversation() -> None:
    """A response apart calls nothing here: the dialogue would begin it, and nobody would end it."""
    ours = protocol()
    hears(ours, "response.created", response={"id": "r", "metadata": {"apart": "1"}})
    assert hears(ours, "response.function_call_arguments.done", **OF, call_id="c", name="f", arguments="{}") == []
    assert hears(ours, "response.output_item.done", response_id="r", item=CALL) == []


ANNOUNCED: dict[str, tuple[str, dict[str, Any]]] = {
    "arguments": (
        "response.function_call_arguments.done",
        {**OF, "call_id": "c", "name": "get_time", "arguments": CALL["arguments"]},
    ),
    "item": ("response.output_item.done", {"response_id": "r", "item": CALL}),
    "response": ("response.done", {"response": {"id": "r", "status": "completed", "output": [CALL]}}),
}


@pytest.mark.parametrize(
    "names",
    [
        ["arguments", "item", "response"],
        ["item", "arguments", "response"],
        ["arguments", "response"],
        ["item", "response"],
        ["response"],
        ["arguments", "arguments", "item"],
    ],
    ids="-".join,
)
def test_a_call_is_made_once(names: list[str]) -> None:
    """However often it is announced, and by whichever event first: before the end of its response."""
    ours = protocol()
    events = [event for name in names for event in hears(ours, ANNOUNCED[name][0], **ANNOUNCED[name][1])]
    assert [event for event in events if isinstance(event, ToolCallReceived)] == [MADE]
    assert events[0] == MADE


def test_several_calls_of_one_response() -> None:
    """Each is made, beside what the response says."""
    ours = protocol()
    for number in range(3):
        made = hears(ours, "response.output_item.done", response_id="r", item={**CALL, "call_id": f"c{number}"})
        assert made == [msgspec.structs.replace(MADE, call_id=f"c{number}")]


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_an_unfinished_response_calls_nothing_at_its_end(status: str) -> None:
    """What stands in the output of a response that was cut off may itself be cut off."""
    assert not [event for event in over(status=status, output=[CALL]) if isinstance(event, ToolCallReceived)]


def test_a_call_that_was_cut_off_is_not_made() -> None:
    """The service completes items of a cancelled response, too, as incomplete: with half of their arguments."""
    ours = protocol()
    half = {**CALL, "status": "incomplete", "arguments": '{"ci'}
    assert hears(ours, "response.output_item.done", response_id="r", item=half) == []


@pytest.mark.parametrize("half", ["", '{"ci', '{"city": "Rome"'])
def test_arguments_that_were_cut_off_call_nothing(half: str) -> None:
    """`arguments.done` comes for an interrupted response, too; a tool must not run with what was not said."""
    fields = {**OF, "call_id": "c", "name": "get_time", "arguments": half}
    assert hears(protocol(), "response.function_call_arguments.done", **fields) == []


@pytest.mark.parametrize("missing", ["call_id", "name"])
def test_a_call_without_a_name_or_an_id(missing: str) -> None:
    """It could not be run or not be answered."""
    assert hears(protocol(), "response.output_item.done", response_id="r", item={**CALL, missing: None}) == []


def test_a_call_without_arguments() -> None:
    """They are an empty object, so that a tool need not know."""
    (made,) = hears(protocol(), "response.output_item.done", response_id="r", item={**CALL, "arguments": None})
    assert made == msgspec.structs.replace(MADE, arguments="{}")
