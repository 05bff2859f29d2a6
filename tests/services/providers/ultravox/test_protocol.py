"""Ultravox's protocol without I/O: the request of a call, the events of a message, and which turn sound belongs to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.history import Entry
from bargein.services.providers.ultravox import PROFILE, UltravoxProtocol
from bargein.services.providers.ultravox.protocol import call_request
from bargein.services.realtime import (
    AudioPiece,
    Event,
    Interrupted,
    ItemOver,
    ProtocolFault,
    ResponseBegan,
    ResponseOver,
    SessionReady,
    Settings,
    TextPiece,
    ToolCallReceived,
    Transcribed,
)
from bargein.services.sockets import Endpoint

ONE, TWO = "c:turn-1", "c:turn-2"
PCM = b"\x01\x00\x02\x00"
BEGAN, OVER = ResponseBegan(response_id=ONE), ResponseOver(response_id=ONE)
SOUND = AudioPiece(response_id=ONE, item_id=ONE, pcm=PCM)
LOST = ResponseOver(response_id=ONE, outcome="interrupted")
INVOKED: dict[str, Any] = {
    "type": "client_tool_invocation",
    "toolName": "get_time",
    "invocationId": "iv-3",
    "parameters": {"city": "Rome"},
}
CLEAR: dict[str, Any] = {"type": "playback_clear_buffer"}


def protocol() -> UltravoxProtocol:
    async def join() -> Endpoint:
        return Endpoint(url="wss://example.invalid")

    ours = UltravoxProtocol(join=join)
    assert list(ours.receive('{"type": "call_started", "callId": "c"}')) == [SessionReady(session_id="c")]
    return ours


def state(name: str) -> dict[str, Any]:
    return {"type": "state", "state": name}


def said(role: str, ordinal: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "transcript", "role": role, "medium": "voice", "ordinal": ordinal, **fields}


def hears(ours: UltravoxProtocol, *messages: dict[str, Any] | bytes) -> list[Event]:
    """The events of some messages."""
    return [
        event
        for message in messages
        for event in ours.receive(message if isinstance(message, bytes) else json.dumps(message))
    ]


# What messages mean ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", ['{"type": "pong", "timestamp": 1}', '{"type": "debug", "message": "x"}', '{"type":"n"}']
)
def test_ignored_messages(data: str) -> None:
    """Keep-alives and unknown messages are no events."""
    assert list(protocol().receive(data)) == []


@pytest.mark.parametrize(
    "data", ["{", "[]", "{}", '{"type": "state"}', '{"type": "transcript", "role": 3}', "[" * 9999]
)
def test_unreadable_message_is_a_fault(data: str) -> None:
    """It does not end the connection."""
    (fault,) = protocol().receive(data)
    assert isinstance(fault, ProtocolFault)
    assert not fault.fatal


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KINDS = ["call_started", "state", "transcript", "client_tool_invocation", "playback_clear_buffer", "pong"]
FIELDS = ["callId", "state", "role", "text", "delta", "ordinal", "final", "toolName", "invocationId", "parameters"]


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_fields_of_wrong_types(kind: str, fields: dict[str, Any]) -> None:
    """A message whose fields have other types than documented raises nothing."""
    list(protocol().receive(json.dumps({**fields, "type": kind})))


def test_turn() -> None:
    """It begins when the agent thinks, has its sound and its words once, and ends when the agent listens."""
    events = hears(
        protocol(),
        state("thinking"),
        state("speaking"),
        said("agent", 1, delta="It is", final=False),
        PCM,
        said("agent", 1, delta=" five", final=False),
        said("agent", 1, text="It is five.", final=True),
        state("listening"),
    )
    of = {"response_id": ONE, "item_id": ONE}
    assert events == [
        BEGAN,
        TextPiece(**of, text="It is"),
        SOUND,
        TextPiece(**of, text=" five"),
        TextPiece(**of, text="."),
        ItemOver(**of),
        OVER,
    ]


@pytest.mark.parametrize("first", [state("speaking"), PCM, said("agent", delta="Hi")], ids=["state", "sound", "words"])
def test_turn_begins_with_its_first_piece(first: dict[str, Any] | bytes) -> None:
    """Any first piece begins the turn, and only one of them does."""
    ours = protocol()
    events = hears(ours, first, PCM, state("speaking"))
    assert events[0] == BEGAN
    assert events.count(BEGAN) == 1


def test_listening_without_a_turn_is_ignored() -> None:
    """So is being idle."""
    assert hears(protocol(), state("listening"), state("idle")) == []


def test_interruption_by_the_server() -> None:
    """What comes behind it, in the socket's order, is new."""
    events = hears(protocol(), PCM, CLEAR, PCM)
    assert events == [
        BEGAN,
        SOUND,
        Interrupted(response_id=ONE),
        LOST,
        ResponseBegan(response_id=TWO),
        AudioPiece(response_id=TWO, item_id=TWO, pcm=PCM),
    ]


def test_interruption_of_a_finished_turn() -> None:
    """All of it was sent, and not all of it was heard."""
    assert hears(protocol(), PCM, state("listening"), CLEAR)[2:] == [OVER, Interrupted(response_id=ONE)]


@pytest.mark.parametrize(
    ("boundary", "events"),
    [
        (CLEAR, [Interrupted(response_id=ONE), LOST]),
        (state("listening"), [LOST]),
        (state("thinking"), [LOST, ResponseBegan(response_id=TWO)]),
    ],
    ids=["clear", "listening", "thinking"],
)
def test_own_interrupt_has_a_boundary(boundary: dict[str, Any], events: list[Event]) -> None:
    """What comes before the boundary belongs to the old turn, whatever state the agent reports.

    What comes behind it does not.
    """
    ours = protocol()
    hears(ours, state("thinking"))
    (told,) = ours.cancel(ONE)
    assert json.loads(told) == {"type": "user_text_message", "text": "", "urgency": "immediate", "deferResponse": True}
    assert hears(ours, state("speaking"), PCM) == [SOUND]
    assert hears(ours, boundary) == events
    assert hears(ours, PCM)[-1] == AudioPiece(response_id=TWO, item_id=TWO, pcm=PCM)


def test_finished_turn_is_not_cancelled() -> None:
    """The interrupt would concern the next turn."""
    ours = protocol()
    hears(ours, PCM, state("listening"), state("thinking"))
    assert list(ours.cancel(ONE)) == []


def test_late_words_belong_to_their_turn() -> None:
    """That turn is over, and they do not become part of the next."""
    ours = protocol()
    hears(ours, said("agent", 1, delta="It"), CLEAR, PCM)
    assert hears(ours, said("agent", 1, text="It is five.", final=True)) == []
    assert hears(ours, said("agent", 2, delta="Yes")) == [TextPiece(response_id=TWO, item_id=TWO, text="Yes")]


def test_user_transcripts() -> None:
    """Transcripts come by item. Typed text is known already."""
    ours = protocol()
    heard = hears(
        ours,
        said("user", 3, delta="What", final=False),
        said("user", 3, delta=" time", final=False),
        said("user", 4, text="Wait.", final=True),
        said("user", 3, text="What time?", final=True),
        {**said("user", 5, text="typed", final=True), "medium": "text"},
    )
    assert heard == [
        Transcribed(item_id="c:user-3", text="What"),
        Transcribed(item_id="c:user-3", text="What time"),
        Transcribed(item_id="c:user-4", text="Wait.", final=True),
        Transcribed(item_id="c:user-3", text="What time?", final=True),
    ]


def test_tool_call() -> None:
    """It is part of the turn in which the agent thinks."""
    made = ToolCallReceived(response_id=ONE, call_id="iv-3", name="get_time", arguments='{"city":"Rome"}')
    assert hears(protocol(), state("thinking"), INVOKED) == [BEGAN, made]


@given(
    st.lists(st.sampled_from(["thinking", "speaking", "listening", "clear", "sound", "words", "cancel"]), max_size=30)
)
def test_turns_never_overlap(steps: list[str]) -> None:
    """Whatever comes, in any order: each turn begins once and ends once, one after the other, with its own pieces."""
    ours, open_, seen = protocol(), "", list[str]()
    messages: dict[str, dict[str, Any] | bytes] = {"clear": CLEAR, "sound": PCM}
    for at, step in enumerate(steps):
        if step == "cancel":
            list(ours.cancel(open_))
            continue
        default = said("agent", at, delta="x") if step == "words" else state(step)
        for event in hears(ours, messages.get(step, default)):
            if isinstance(event, ResponseBegan):
                assert not open_
                assert event.response_id not in seen
                open_ = event.response_id
                seen.append(open_)
            elif isinstance(event, ResponseOver):
                assert event.response_id == open_
                open_ = ""
            elif isinstance(event, AudioPiece | TextPiece):
                assert event.response_id == open_


# What is sent ---------------------------------------------------------------------------------------------------------


def test_call_request() -> None:
    """It holds everything that configures the model."""
    tool = {
        "name": "get_time",
        "description": "Clock",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "place": {"$ref": "#/$defs/Place"}},
            "required": ["city"],
            "$defs": {"Place": {"type": "object"}},
        },
    }
    settings = Settings(
        model="fixie-ai/ultravox",
        instructions="Be brief.",
        voice="Mark",
        tools=[tool],
        extra={"temperature": 0.4, "medium": {"serverWebSocket": {"clientBufferSizeMs": 60}}},
    )
    assert call_request(settings, profile=PROFILE, buffer_ms=30_000, first_speaker="user", max_call_seconds=1800) == {
        "systemPrompt": "Be brief.",
        "model": "fixie-ai/ultravox",
        "voice": "Mark",
        "temperature": 0.4,
        "maxDuration": "1800s",
        "firstSpeaker": "FIRST_SPEAKER_USER",
        "initialOutputMedium": "MESSAGE_MEDIUM_VOICE",
        "medium": {
            "serverWebSocket": {"inputSampleRate": 16_000, "outputSampleRate": 24_000, "clientBufferSizeMs": 60}
        },
        "selectedTools": [
            {
                "temporaryTool": {
                    "modelToolName": "get_time",
                    "description": "Clock",
                    "dynamicParameters": [
                        {
                            "name": "city",
                            "location": "PARAMETER_LOCATION_BODY",
                            "schema": {"type": "string"},
                            "required": True,
                        },
                        {
                            "name": "place",
                            "location": "PARAMETER_LOCATION_BODY",
                            "schema": {"type": "object"},
                            "required": False,
                        },
                    ],
                    "client": {},
                }
            }
        ],
    }
    assert "selectedTools" not in call_request(
        Settings(model="m"), profile=PROFILE, buffer_ms=1, first_speaker="agent", max_call_seconds=1
    )


def test_commands() -> None:
    """Each message is exact. Sound is sent unchanged."""
    ours = protocol()
    assert ours.audio(PCM) == PCM
    assert [json.loads(each) for each in ours.text("Hello.")] == [
        {"type": "user_text_message", "text": "Hello.", "urgency": "soon", "deferResponse": False}
    ]
    assert list(ours.text("")) == [], "it would be an interrupt"
    hears(ours, INVOKED)
    assert [json.loads(each) for each in ours.tool_result("iv-3", '{"time":"10:05"}')] == [
        {
            "type": "client_tool_result",
            "invocationId": "iv-3",
            "result": '{"time":"10:05"}',
            "responseType": "tool-response",
            "agentReaction": "speaks",
        }
    ]
    for made in (ours.open_session(Settings(model="m")), ours.update(Settings(model="m")), ours.clear_audio()):
        assert list(made) == []


def test_tool_result_after_an_interrupt() -> None:
    """The model gets it and does not speak of it, whichever side interrupted, and whether the turn is over or not."""
    for stop in ("ours", "theirs"):
        ours = protocol()
        hears(ours, state("thinking"), INVOKED)
        list(ours.cancel(ONE)) if stop == "ours" else hears(ours, CLEAR)
        (told,) = ours.tool_result("iv-3", "late")
        assert json.loads(told)["agentReaction"] == "listens"


def test_cancelled_tool_is_answered() -> None:
    """Without an answer the call would stand still, so it gets one that the agent does not speak of."""
    ours = protocol()
    list(ours.receive(json.dumps(INVOKED)))
    (answer,) = ours.cancel_tool_call("iv-3")
    assert json.loads(answer) == {
        "type": "client_tool_result",
        "invocationId": "iv-3",
        "responseType": "tool-response",
        "agentReaction": "listens",
        "errorType": "implementation-error",
        "errorMessage": "The user interrupted, and it was called off.",
    }


def test_tool_result_for_a_replaced_call() -> None:
    """It is sent as text, and the agent speaks of it."""
    entry = Entry(role="call", call_id="iv-3", name="get_time", arguments="{}", output="noon")
    (made,) = protocol().seed([entry])
    told = json.loads(made)
    assert "noon" in told["text"]
    assert (told["urgency"], told["deferResponse"]) == ("soon", False)


def test_history_is_sent_as_text() -> None:
    """It is one message that asks for no answer, with the agent's words as they were heard."""
    entries = [
        Entry(role="user", text="When do you open?"),
        Entry(role="call", call_id="c", name="get_time", arguments='{"city":"Rome"}', output="10:05"),
        Entry(role="assistant", text="At nine, as always.", heard="At nine,"),
    ]
    (made,) = protocol().seed(entries)
    message = json.loads(made)
    assert (message["urgency"], message["deferResponse"]) == ("later", True)
    assert message["text"].splitlines()[1:] == [
        "user: When do you open?",
        '(the tool get_time was called with {"city":"Rome"}, and answered: 10:05)',
        "you: At nine,",
    ]
