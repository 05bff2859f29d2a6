"""What each message of the server means: events, sessions and transcripts."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bargein.services.providers.openai import wire
from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    ItemOver,
    ProtocolFault,
    RateLimitsReported,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    Transcribed,
    WordTimed,
)

from .protocol_kit import CALL, MADE, OF, PCM, hears, protocol

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
