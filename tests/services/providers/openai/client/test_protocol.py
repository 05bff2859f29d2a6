"""The OpenAI protocol without I/O: what each message means, and what each command looks like."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.history import Entry, History
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.client._event_reader import BUSY_CODE, FATAL_CODES, HARMLESS_CODES
from bargein.services.providers.openai.client.protocol import PROFILE, AudioForm, OpenAIProtocol
from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    ItemOver,
    OutOfBandCompleted,
    ProtocolFault,
    RateLimitsReported,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    Transcribed,
    WordTimed,
)
from bargein.services.sockets import Endpoint

PCM = b"\x00\x00\x01\x00\xff\xff\x02\x00"
OF = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
CALL = {"type": "function_call", "id": "i", "call_id": "c", "name": "get_time", "arguments": '{\n "city": "Rome"\n}'}
MADE = ToolCallReceived(response_id="r", call_id="c", name="get_time", arguments='{\n "city": "Rome"\n}')


def protocol() -> OpenAIProtocol:
    return OpenAIProtocol(url="wss://example.invalid/v1/realtime?model=m", headers={"Authorization": "Bearer x"})


def hears(ours: OpenAIProtocol, type: str, **fields: Any) -> list[Event]:
    """The events of one message."""
    return list(ours.receive(json.dumps({"event_id": "ev", "type": type, **fields})))


def message(value: str | bytes) -> Any:
    assert isinstance(value, str), "the interface speaks text"
    return json.loads(value)


# Every server event ---------------------------------------------------------------------------------------------------

RATES = [{"name": "tokens", "limit": 1000, "remaining": 900, "reset_seconds": 0.5}]
TRANSCRIPTION = "conversation.item.input_audio_transcription"
MEANINGS: list[tuple[str, dict[str, Any], list[Event]]] = [
    ("session.created", {"session": {"id": "s"}}, []),
    ("session.updated", {"session": {"id": "s"}}, [SessionReady(session_id="s", config={"id": "s"})]),
    ("conversation.created", {"conversation": {"id": "c"}}, []),
    ("conversation.item.added", {"item": {"type": "message"}, "previous_item_id": None}, []),
    ("conversation.item.created", {"item": {"type": "message"}}, []),
    ("conversation.item.done", {"item": CALL}, []),  # the response's own event has the response
    ("conversation.item.retrieved", {"item": {"type": "message"}}, []),
    ("conversation.item.deleted", {"item_id": "i"}, []),
    ("conversation.item.truncated", {"item_id": "i", "content_index": 0, "audio_end_ms": 7}, []),
    (f"{TRANSCRIPTION}.delta", {"item_id": "u", "delta": "Hel"}, [Transcribed(item_id="u", text="Hel")]),
    (
        f"{TRANSCRIPTION}.completed",
        {"item_id": "u", "transcript": " Hi.\n"},
        [Transcribed(item_id="u", text="Hi.", final=True)],
    ),
    (
        f"{TRANSCRIPTION}.completed",
        {"item_id": "u", "transcript": " Hi", "status": "in_progress"},  # xAI's way to say that it is not all
        [Transcribed(item_id="u", text="Hi")],
    ),
    (f"{TRANSCRIPTION}.updated", {"item_id": "u", "transcript": " Hi"}, [Transcribed(item_id="u", text="Hi")]),
    (f"{TRANSCRIPTION}.segment", {"id": "g", "text": "Hi", "speaker": "A", "start": 0, "end": 1}, []),
    (
        f"{TRANSCRIPTION}.failed",
        {"item_id": "u", "error": {"type": "x", "code": "DeploymentNotFound", "message": "no such", "param": None}},
        [
            Transcribed(item_id="u", text="", final=True),
            ProtocolFault(message="what the user said could not be transcribed: no such"),
        ],
    ),
    (
        "input_audio_buffer.speech_started",
        {"audio_start_ms": 3712, "item_id": "u"},
        [SpeechBegan(item_id="u", ms=3712)],
    ),
    ("input_audio_buffer.speech_stopped", {"audio_end_ms": 4000, "item_id": "u"}, [SpeechOver(item_id="u", ms=4000)]),
    (
        "input_audio_buffer.committed",
        {"item_id": "u", "previous_item_id": None},
        [AudioCommitted(item_id="u", answered=True)],
    ),
    ("input_audio_buffer.cleared", {}, []),
    ("input_audio_buffer.timeout_triggered", {"audio_start_ms": 0, "audio_end_ms": 9, "item_id": "u"}, []),
    ("input_audio_buffer.dtmf_event_received", {"event": "7", "received_at": 1}, []),
    ("output_audio_buffer.started", {"response_id": "r"}, []),
    ("output_audio_buffer.stopped", {"response_id": "r"}, []),
    ("output_audio_buffer.cleared", {"response_id": "r"}, []),
    ("response.created", {"response": {"id": "r", "status": "in_progress"}}, [ResponseBegan(response_id="r")]),
    ("response.output_item.added", {"response_id": "r", "item": CALL}, []),  # its arguments have not come yet
    ("response.output_item.done", {"response_id": "r", "item": {"type": "message", "id": "i"}}, []),
    ("response.output_item.done", {"response_id": "r", "item": CALL}, [MADE]),
    ("response.content_part.added", {**OF, "part": {"type": "audio", "transcript": ""}}, []),
    ("response.content_part.done", {**OF, "part": {"type": "text", "text": "Hi."}}, []),
    ("response.output_audio.done", OF, []),
    ("response.audio.done", OF, []),
    ("response.function_call_arguments.delta", {**OF, "call_id": "c", "delta": "{"}, []),
    (
        "response.function_call_arguments.done",
        {**OF, "call_id": "c", "name": "get_time", "arguments": CALL["arguments"]},
        [MADE],
    ),
    ("response.function_call_arguments.done", {**OF, "call_id": "c", "arguments": "{}"}, []),  # beta: no name yet
    ("response.mcp_call_arguments.done", {**OF, "arguments": "{}"}, []),
    ("response.mcp_call.completed", {"item_id": "i"}, []),
    ("mcp_list_tools.failed", {"item_id": "i"}, []),
    ("response.done", {"response": {"id": "r", "status": "completed"}}, [ResponseOver(response_id="r")]),
    (
        "response.audio_timestamp.delta",
        {**OF, "text": "ten", "audio_offset_ms": 490, "audio_duration_ms": 110, "timestamp_type": "word"},
        [WordTimed(response_id="r", item_id="i", text="ten", start_ms=490, end_ms=600)],
    ),
    (
        "rate_limits.updated",
        {"rate_limits": RATES},
        [RateLimitsReported(remaining={"tokens": 900}, reset_seconds={"tokens": 0.5})],
    ),
    ("error", {"error": {"type": "t", "code": "k", "message": "m"}}, [ProtocolFault(message="m", code="k")]),
]
MEANINGS += [
    (f"response.{name}.delta", {**OF, "delta": "AAABAP//AgA="}, [AudioPiece(response_id="r", item_id="i", pcm=PCM)])
    for name in ("output_audio", "audio")
]
for name, field in {
    "output_audio_transcript": "transcript",
    "audio_transcript": "transcript",
    "output_text": "text",
    "text": "text",
}.items():
    MEANINGS += [
        (f"response.{name}.delta", {**OF, "delta": " ten"}, [TextPiece(response_id="r", item_id="i", text=" ten")]),
        (f"response.{name}.done", {**OF, field: "At ten."}, [ItemOver(response_id="r", item_id="i", text="At ten.")]),
    ]


@pytest.mark.parametrize(
    ("type", "fields", "events"), MEANINGS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_meanings(type: str, fields: dict[str, Any], events: list[Event]) -> None:
    """What each event means by itself; unknown fields change nothing."""
    assert hears(protocol(), type, **fields) == events
    assert hears(protocol(), type, **fields, obfuscation="x7", more={"deep": [None]}) == events


def test_no_server_event_is_forgotten() -> None:
    """The table has every event that the wire knows."""
    assert {kind.__struct_config__.tag for kind in wire.ServerEvent.__args__} <= {type for type, _, _ in MEANINGS}


# The session ----------------------------------------------------------------------------------------------------------


def session(turns: Any) -> dict[str, Any]:
    return {"id": "s", "audio": {"input": {"turn_detection": turns}}}


@pytest.mark.parametrize(
    ("turns", "interrupts", "answered"),
    [
        (None, False, False),
        ({"type": "server_vad"}, True, True),
        ({"type": "server_vad", "create_response": False}, True, False),
        ({"type": "semantic_vad", "interrupt_response": False}, False, True),
    ],
)
def test_turn_detection_is_what_the_server_says(turns: Any, interrupts: bool, answered: bool) -> None:
    """Whether speech stops a response, and is answered, follows the session in force, and no request of ours."""
    ours = protocol()
    hears(ours, "session.updated", session=session(turns))
    (began,) = hears(ours, "input_audio_buffer.speech_started", audio_start_ms=1, item_id="u")
    (committed,) = hears(ours, "input_audio_buffer.committed", item_id="u")
    assert began == SpeechBegan(item_id="u", ms=1, interrupts=interrupts)
    assert committed == AudioCommitted(item_id="u", answered=answered)


def test_it_becomes_ready_once() -> None:
    """Later updates are no new session, but what they say of turns counts."""
    ours = protocol()
    assert len(hears(ours, "session.updated", session=session(None))) == 1
    assert hears(ours, "session.updated", session=session({"type": "server_vad"})) == []
    (began,) = hears(ours, "input_audio_buffer.speech_started", audio_start_ms=1, item_id="u")
    assert began == SpeechBegan(item_id="u", ms=1, interrupts=True)


def test_the_end_of_the_session_is_told() -> None:
    """The server's date is compared with the server's clock, never with ours; without that clock it says nothing."""
    for at in (1_000.0, 1.8e9, 4e9):  # far from the present time, too
        ours = protocol()
        ours.server_time = at
        (event,) = hears(ours, "session.updated", session={"expires_at": int(at) + 3600})
        assert isinstance(event, SessionReady)
        assert event.remaining_seconds == 3600
    for past in (None, 1, "soon", True, -1e300):
        ours = protocol()
        ours.server_time = 1.8e9
        (event,) = hears(ours, "session.updated", session={"expires_at": past})
        assert isinstance(event, SessionReady)
        assert event.remaining_seconds is None
    (event,) = hears(protocol(), "session.updated", session={"expires_at": int(time.time()) + 30})
    assert isinstance(event, SessionReady)
    assert event.remaining_seconds is None


BENT = [
    {"audio": "pcm"},
    {"audio": ["pcm"]},
    {"audio": {"input": 7}},
    {"audio": {"input": {"turn_detection": "server_vad"}}},
    {"expires_at": 10**400},
]


@pytest.mark.parametrize("bent", BENT, ids=lambda value: str(value)[:50])
def test_a_bent_session_is_no_end(bent: dict[str, Any]) -> None:
    """A session whose insides are of other kinds than documented raises nothing."""
    hears(protocol(), "session.updated", session=bent)


@pytest.mark.parametrize("type", ["session.updated", "never.heard.of"])
def test_nesting_without_end_is_a_fault(type: str) -> None:
    """A message nested deeper than a parser goes is a message that cannot be read.

    The parser's limit is the interpreter's: about 1,000 levels in Python 3.11 and 10,000 in 3.13.
    """
    deep = "[" * 100_000 + "]" * 100_000
    (fault,) = protocol().receive(f'{{"type":"{type}","session":{{"deep":{deep}}}}}')
    assert isinstance(fault, ProtocolFault)


# Transcripts ----------------------------------------------------------------------------------------------------------


def test_transcripts_grow_by_item() -> None:
    """Deltas of two items may come in any order; each event has all that is known of its item, and no other's."""
    ours, heard = protocol(), []
    for item, delta in (("a", "What"), ("b", "No,"), ("a", " time"), ("b", " wait"), ("a", " is it")):
        heard += hears(ours, f"{TRANSCRIPTION}.delta", item_id=item, delta=delta)
    heard += hears(ours, f"{TRANSCRIPTION}.completed", item_id="a", transcript="What time is it?")
    heard += hears(ours, f"{TRANSCRIPTION}.delta", item_id="b", delta=".")
    heard += hears(ours, f"{TRANSCRIPTION}.completed", item_id="b", transcript="No, wait.")
    assert heard == [
        Transcribed(item_id="a", text="What"),
        Transcribed(item_id="b", text="No,"),
        Transcribed(item_id="a", text="What time"),
        Transcribed(item_id="b", text="No, wait"),
        Transcribed(item_id="a", text="What time is it"),
        Transcribed(item_id="a", text="What time is it?", final=True),
        Transcribed(item_id="b", text="No, wait."),
        Transcribed(item_id="b", text="No, wait.", final=True),
    ]


def test_a_transcript_that_fails_keeps_what_was_known() -> None:
    """The model has heard it; the words so far are all there will be."""
    ours = protocol()
    hears(ours, f"{TRANSCRIPTION}.delta", item_id="u", delta="Hello")
    said, fault = hears(ours, f"{TRANSCRIPTION}.failed", item_id="u", error={"message": "too long"})
    assert said == Transcribed(item_id="u", text="Hello", final=True)
    assert isinstance(fault, ProtocolFault)
    assert not fault.fatal


def test_an_item_may_come_without_its_id() -> None:
    """A server of the same protocol that names no items is understood all the same."""
    ours = protocol()
    assert hears(ours, "input_audio_buffer.speech_started") == [SpeechBegan()]
    assert hears(ours, "response.output_text.delta", response_id="r", delta="x") == [
        TextPiece(response_id="r", item_id="", text="x")
    ]


# Responses ------------------------------------------------------------------------------------------------------------


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


# Tools ----------------------------------------------------------------------------------------------------------------

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


# Errors ---------------------------------------------------------------------------------------------------------------


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


# What cannot be read --------------------------------------------------------------------------------------------------


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


# Commands -------------------------------------------------------------------------------------------------------------

SETTINGS = Settings(model="m", instructions="Be brief.")
SHORT = "item_0123456789012345678901234567"[:32]


def text_item(role: str, kind: str, text: str) -> dict[str, Any]:
    content = [{"type": kind, "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": content}}


COMMANDS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "audio": (lambda p: [p.audio(PCM)], [{"type": "input_audio_buffer.append", "audio": "AAABAP//AgA="}]),
    "commit": (lambda p: p.commit(), [{"type": "input_audio_buffer.commit"}]),
    "clear": (lambda p: p.clear_audio(), [{"type": "input_audio_buffer.clear"}]),
    "text": (lambda p: p.text("hello"), [text_item("user", "input_text", "hello")]),
    "image": (
        lambda p: p.image(b"\xff\xd8\xff\xe0", "jpeg"),
        [
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "data:image/jpeg;base64,/9j/4A=="}],
                },
            }
        ],
    ),
    "tool result": (
        lambda p: p.tool_result("call_7", '{"time":"10:05"}'),
        [
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "call_7", "output": '{"time":"10:05"}'},
            }
        ],
    ),
    "empty tool result": (
        lambda p: p.tool_result("call_7", ""),
        [
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "call_7", "output": ""},
            }
        ],
    ),
    "respond": (
        lambda p: p.respond(),
        [
            {
                "type": "response.create",
                "event_id": "respond-1",
                "response": {"metadata": {"request": "respond-1"}},
            }
        ],
    ),
    "respond in a way": (
        lambda p: p.respond("Be kind."),
        [
            {
                "type": "response.create",
                "event_id": "respond-1",
                "response": {"metadata": {"request": "respond-1"}, "instructions": "Be kind."},
            }
        ],
    ),
    "aside": (
        lambda p: p.out_of_band("summary", "Sum it up."),
        [
            {
                "type": "response.create",
                "event_id": "out-of-band-1",
                "response": {
                    "conversation": "none",
                    "output_modalities": ["text"],
                    "tool_choice": "none",
                    "instructions": "Sum it up.",
                    "metadata": {"apart": "summary"},
                },
            }
        ],
    ),
    "cancel": (lambda p: p.cancel("resp_1"), [{"type": "response.cancel", "response_id": "resp_1"}]),
    "truncate": (
        lambda p: p.truncate("item_A", 1480),
        [{"type": "conversation.item.truncate", "item_id": "item_A", "content_index": 0, "audio_end_ms": 1480}],
    ),
    "forget": (lambda p: p.delete_item("item_A"), [{"type": "conversation.item.delete", "item_id": "item_A"}]),
    "opening": (
        lambda p: p.open_session(SETTINGS),
        [
            {
                "type": "session.update",
                "event_id": "settings",
                "session": {
                    "type": "realtime",
                    "instructions": "Be brief.",
                    "output_modalities": ["audio"],
                    "audio": {
                        "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": None},
                        "output": {"format": {"type": "audio/pcm", "rate": 24000}},
                    },
                    "tools": [],
                },
            }
        ],
    ),
    "no replies": (lambda p: p.take_replies(), []),
    "no history": (lambda p: p.seed([]), []),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str) -> None:
    """Each, to the letter; and a client event of the interface."""
    command, expected = COMMANDS[name]
    made = list(command(protocol()))
    assert [message(each) for each in made] == expected
    assert not [each for each in made if isinstance(wire.decode_client_event(each), str)]


def test_a_picture_may_have_a_detail() -> None:
    """If it is said, it is sent."""
    (made,) = protocol().image(b"x", "png", "high")
    (part,) = message(made)["item"]["content"]
    assert part == {"type": "input_image", "image_url": "data:image/png;base64,eA==", "detail": "high"}


@pytest.mark.parametrize(("item", "sent"), [("", None), ("u1", "u1"), (SHORT, SHORT), (SHORT + "x", None)])
def test_ids_of_items(item: str, sent: str | None) -> None:
    """Ours, as far as the interface takes them."""
    (made,) = protocol().text("hello", item)
    assert message(made)["item"].get("id") == sent


def test_all_settings() -> None:
    """Each in its place; `extra` over all of them, deep inside."""
    tool = {"name": "get_time", "description": "Clock", "parameters": {"type": "object", "properties": {}}}
    settings = Settings(
        model="m",
        instructions="Be brief.",
        voice="marin",
        output="text",
        tools=[tool],
        turn_detection={"type": "semantic_vad", "eagerness": "high"},
        transcription={"model": "whisper-1", "language": "en"},
        extra={
            "max_output_tokens": 100,
            "audio": {"output": {"speed": 1.2}, "input": {"transcription": {"language": "de"}}},
            "tool_choice": "required",
        },
    )
    (made,) = protocol().update(settings)
    assert message(made) == {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "Be brief.",
            "output_modalities": ["text"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
                    "transcription": {"model": "whisper-1", "language": "de"},
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.2},
            },
            "tools": [{"type": "function", **tool}],
            "max_output_tokens": 100,
            "tool_choice": "required",
        },
    }
    assert settings.extra["audio"]["output"] == {"speed": 1.2}, "what was given is not written to"


@pytest.mark.parametrize("form", ["audio/pcmu", "audio/pcma"])
def test_telephone_sound(form: AudioForm) -> None:
    """G.711 on the wire, a byte a sample, named without a rate; 16-bit samples on our side of it."""
    profile = msgspec.structs.replace(PROFILE, input_rate=8000, output_rate=8000)
    ours = OpenAIProtocol(url="wss://example.invalid", headers={}, profile=profile, form=form)
    told = ours.session(SETTINGS)["audio"]
    assert told["input"]["format"] == told["output"]["format"] == {"type": form}
    sound = (8000 * np.sin(np.arange(160) / 5)).astype("<i2")
    sent = message(ours.audio(sound.tobytes()))["audio"]
    assert len(base64.b64decode(sent)) == 160
    (piece,) = hears(ours, "response.output_audio.delta", **OF, delta=sent)
    assert isinstance(piece, AudioPiece)
    assert np.abs(np.frombuffer(piece.pcm, "<i2").astype(int) - sound).max() < 300


def test_a_conversation_is_seeded() -> None:
    """Words by their role, of the agent's those that were heard; a call goes with its answer."""
    ours = protocol()
    entries = [
        Entry(role="system", text="The shop is closed."),
        Entry(role="user", text="When do you open?", item_id="item_of_another_session"),
        Entry(role="call", call_id="c", name="get_time", arguments='{"city":"Rome"}', output="10:05"),
        Entry(role="assistant", text="At nine, as always.", heard="At nine,"),
        Entry(role="assistant", text="Goodbye."),
    ]
    call = {"type": "function_call", "call_id": "c", "name": "get_time", "arguments": '{"city":"Rome"}'}
    assert [message(each) for each in ours.seed(entries)] == [
        text_item("system", "input_text", "The shop is closed."),
        text_item("user", "input_text", "When do you open?"),
        {"type": "conversation.item.create", "item": call},
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "10:05"},
        },
        text_item("assistant", "output_text", "At nine,"),
        text_item("assistant", "output_text", "Goodbye."),
    ]
    # A response of the new session may use the id again: then it is another call.
    assert len(hears(ours, "response.output_item.done", response_id="r", item=CALL)) == 1
    assert hears(ours, "response.output_item.done", response_id="r", item=CALL) == []


def test_where_it_connects() -> None:
    """To the given address with the given headers, which nobody prints."""
    endpoint = protocol().endpoint()
    assert isinstance(endpoint, Endpoint)
    assert (endpoint.url, endpoint.headers["Authorization"]) == (
        "wss://example.invalid/v1/realtime?model=m",
        "Bearer x",
    )
    assert "Bearer" not in repr(endpoint)


def test_profiles_are_kept_apart() -> None:
    """One connection's profile is its own: the class keeps OpenAI's."""
    azure = msgspec.structs.replace(PROFILE, provider="Azure OpenAI")
    assert OpenAIProtocol(url="wss://example.invalid", headers={}, profile=azure).profile.provider == "Azure OpenAI"
    assert OpenAIProtocol.profile.provider == protocol().profile.provider == "OpenAI"


def test_ids_of_earlier_calls_are_made_to_fit() -> None:
    """Other providers have longer ids: a call and its results keep one id, and two calls keep two."""
    ours, history = protocol(), History()
    ids = [f"call-6f1c2a3b-1111-2222-3333-444455556666-{at}" for at in (0, 1)]
    for call_id in (*ids, "call_short"):
        history.call(call_id, "weather", "{}", "r1")
        history.result(call_id, "sunny")
    items = [message(each)["item"] for each in ours.seed(history.remembered)]
    late = message(next(iter(ours.tool_result(ids[0], "rain"))))["item"]
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    assert all(len(call_id) <= 32 for call_id in calls)
    assert calls[2] == "call_short"
    assert len(set(calls)) == 3
    assert [item["call_id"] for item in items if item["type"] == "function_call_output"] == calls
    assert late["call_id"] == calls[0]
    own = message(next(iter(ours.tool_result("call-of-this-provider-with-a-very-long-id", "x"))))["item"]
    assert own["call_id"] == "call-of-this-provider-with-a-very-long-id"


def test_a_call_id_may_be_used_again_in_another_response() -> None:
    """Within a response a call is reported once, however often it is sent; the same id later is another call."""
    ours = protocol()

    def calls(response_id: str) -> list[Event]:
        item = {"type": "function_call", "call_id": "call_1", "name": "clock", "arguments": "{}", "status": "completed"}
        fields = {"response_id": response_id, "item_id": "i", "output_index": 0}
        events = hears(ours, "response.function_call_arguments.done", **fields, call_id="call_1", name="clock")
        events += hears(ours, "response.output_item.done", **fields, item=item)
        events += hears(ours, "response.done", response={"id": response_id, "status": "completed", "output": [item]})
        return [event for event in events if isinstance(event, ToolCallReceived)]

    for response_id in ("r1", "r2"):
        (call,) = calls(response_id)
        assert call == ToolCallReceived(response_id=response_id, call_id="call_1", name="clock", arguments="{}")
