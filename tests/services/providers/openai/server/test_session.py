"""The server's session without I/O: its orders, its frames, its refusals."""

from __future__ import annotations

import base64
import itertools
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.pipeline import (
    Audio,
    Failure,
    Frame,
    Image,
    Interrupt,
    Played,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    Usage,
    UserText,
)
from bargein.pipeline.testing import tone
from bargein.processors import SpeechContinued, TurnControl
from bargein.services.frames import ClearAudio, Commit, Configure, OutOfBand, Respond
from bargein.services.media.g711 import Codec, codec
from bargein.services.providers.openai import wire
from bargein.services.providers.openai.server._core.audio import UserAudio
from bargein.services.providers.openai.server._core.session import random_id
from bargein.services.providers.openai.server.serve import Event, Remember, server_vad

from .server_kit import Hand, error, keys, spoken, types

TEXT = {"output_modalities": ["text"]}
MANUAL = {"audio": {"input": {"turn_detection": None}}}
PATIENT = {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}}


def sound(ms: float = 100, *, response: str = "r", item: str = "i", rate: int = 24_000) -> Audio:
    return Audio(samples=tone(ms=ms, rate=rate), rate=rate, response_id=response, item_id=item)


def answer(hand: Hand, response: str = "r", *frames: Frame) -> list[Event]:
    """A whole response of the brain's."""
    said = frames or (Text(text="Hi.", response_id=response, item_id="i"), sound(response=response))
    return hand.brain(ResponseStarted(response_id=response), *said, ResponseEnded(response_id=response))


# Orders ---------------------------------------------------------------------------------------------------------------

AUDIO_TURN = [
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def test_a_text_turn_with_sound_has_the_order_of_the_service() -> None:
    """The user's item, the response, its item, its part, deltas, and everything closed from the inside out."""
    hand = Hand()
    events = hand.say() + hand.client("response.create") + answer(hand)
    assert types(events) == AUDIO_TURN
    (said,) = hand.frames()
    assert isinstance(said, UserText)
    assert said.text == "hello"
    assert said.item_id == events[0]["item"]["id"]
    done = events[-1]["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hi."}]
    assert events[4]["previous_item_id"] == said.item_id
    assert sum(len(each["delta"]) for each in events if each["type"] == "response.output_audio.delta") == 4800


def test_a_text_response_has_no_sound() -> None:
    """In text mode the brain's sound is dropped, and its words are the text."""
    hand = Hand(session=TEXT)
    hand.say()
    hand.client("response.create")
    events = answer(hand)
    assert types(events) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Hi."}]


def test_modalities_of_one_response() -> None:
    """`response.create` may ask for another modality than the session's, with metadata of its own."""
    hand = Hand()
    hand.say()
    created = hand.client("response.create", response={**TEXT, "metadata": {"a": "b"}})[0]["response"]
    assert created["output_modalities"] == ["text"]
    assert created["metadata"] == {"a": "b"}
    assert answer(hand)[-1]["response"]["metadata"] == {"a": "b"}
    assert hand.core.session["output_modalities"] == ["audio"]


def test_a_spoken_turn_has_the_order_of_the_service() -> None:
    """Started, stopped, committed, the item; then the brain is told to answer."""
    hand = Hand()
    events = hand.speak(spoken("time"))
    assert types(events) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert len({each.get("item_id") or each["item"]["id"] for each in events}) == 1
    assert events[0]["audio_start_ms"] <= 224 - 200
    assert 981 + 200 <= events[1]["audio_end_ms"] <= 981 + 500
    frames = hand.frames(sound=True)
    kinds = [kind for kind, _ in itertools.groupby(type(frame) for frame in frames)]
    assert kinds[0] is Audio
    assert [kind for kind in kinds if kind not in (Audio, SpeechContinued)] == [SpeechStarted, SpeechStopped, Commit]
    assert {
        frame.item_id for frame in frames if isinstance(frame, SpeechStarted | SpeechStopped | SpeechContinued)
    } == {events[0]["item_id"]}
    assert sum(len(frame.samples) for frame in frames if isinstance(frame, Audio)) == len(spoken("time")) // 2
    assert types(answer(hand))[0] == "response.created"


def test_the_brain_is_given_the_rate_that_it_wants() -> None:
    """Sound goes to the brain at `rate`, whatever the session's input is."""
    hand = Hand(rate=16_000, session=MANUAL)
    hand.speak(bytes(48_000))
    frames = [frame for frame in hand.frames(sound=True) if isinstance(frame, Audio)]
    assert {frame.rate for frame in frames} == {16_000}
    assert abs(sum(len(frame.samples) for frame in frames) - 16_000) <= 32


def test_speech_counts_from_the_beginning_of_the_session() -> None:
    """`audio_start_ms` counts all sound of the session, and the prefix is before it."""
    hand = Hand()
    hand.speak(bytes(48 * 2000))
    started = hand.speak(spoken("time"))[0]
    assert abs(started["audio_start_ms"] - (2000 + 224 - 300)) < 100


def test_a_turn_is_not_answered_unless_it_is_asked_for() -> None:
    """With `create_response` off a spoken turn waits for `response.create`."""
    hand = Hand(session=PATIENT)
    hand.speak(spoken("time"))
    assert not [frame for frame in hand.frames() if isinstance(frame, Commit)]
    assert types(hand.client("response.create")) == ["response.created"]
    assert [type(frame) for frame in hand.frames()] == [Commit]
    assert types(answer(hand))[-1] == "response.done"


def test_push_to_talk() -> None:
    """Without turn detection nothing is heard; a commit makes an item, and `response.create` a turn."""
    hand = Hand(session=MANUAL)
    assert hand.speak(spoken("time")) == []
    events = hand.client("input_audio_buffer.commit")
    assert types(events) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    item, ms = events[0]["item_id"], len(spoken("time")) / 48
    assert hand.frames() == [  # the bounds of what is to be transcribed
        SpeechStarted(pts=0, item_id=item, lag_ms=ms),
        SpeechStopped(pts=round(ms * 1e6), item_id=item),
    ]
    hand.client("response.create")
    assert hand.frames() == [Commit()]


def test_cleared_sound_is_forgotten() -> None:
    """`clear` is acknowledged and passed on, and leaves nothing to commit."""
    hand = Hand(session=MANUAL)
    hand.speak(bytes(48 * 500))
    assert types(hand.client("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert hand.frames() == [ClearAudio()]
    assert error(hand.client("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_a_sound_cut_through_a_sample_is_put_together() -> None:
    """Appends may end in the middle of a sample."""
    hand = Hand(session=MANUAL)
    data = tone(ms=100, rate=24_000).tobytes()
    for piece in (data[:333], data[333:1000], data[1000:]):
        hand.core.on_message(wire.encode(wire.AudioAppend(audio=piece)))
    frames = [frame for frame in hand.frames(sound=True) if isinstance(frame, Audio)]
    assert b"".join(frame.to_bytes() for frame in frames) == data


def test_transcripts_go_to_their_item() -> None:
    """The deltas together are the final transcript, however much the partial ones differed from it."""
    hand = Hand(session={"audio": {"input": {"transcription": {"model": "any"}}}})
    item = hand.speak(spoken("time"))[0]["item_id"]
    events = hand.brain(
        Transcript(text="What", item_id=item),
        Transcript(text="What time", item_id=item),
        Transcript(text="Which time is it?", item_id=item, final=True),
        Transcript(text="late", item_id=item, final=True),
    )
    deltas = [event["delta"] for event in events if event["type"].endswith("transcription.delta")]
    assert deltas == ["Which time is it?"]
    assert events[-1]["type"].endswith("transcription.completed")
    assert events[-1]["transcript"] == "Which time is it?"
    assert {event["item_id"] for event in events} == {item}
    kept = hand.client("conversation.item.retrieve", item_id=item)[0]["item"]
    assert kept["content"][0]["transcript"] == "Which time is it?"


def test_transcripts_of_items_with_other_names() -> None:
    """A recogniser that counts in its own way is matched in order of the items."""
    hand = Hand(session={"audio": {"input": {"transcription": {"model": "any"}}}})
    first = hand.speak(spoken("time"))[0]["item_id"]
    second = hand.speak(spoken("stop"))[0]["item_id"]
    events = hand.brain(
        Transcript(text="one", item_id="a", final=True),
        Transcript(text="two", item_id="b"),
        Transcript(text="two!", item_id="b", final=True),
    )
    done = [(event["item_id"], event["transcript"]) for event in events if "transcript" in event]
    assert done == [(first, "one"), (second, "two!")]


def test_without_transcription_there_are_no_transcripts() -> None:
    """They are sent to those only who have asked for them."""
    hand = Hand()
    item = hand.speak(spoken("time"))[0]["item_id"]
    assert hand.brain(Transcript(text="What", item_id=item, final=True)) == []


def test_a_brain_with_ears_of_its_own() -> None:
    """With `vad=None` the brain's own speech events are the client's, and it takes turns by itself."""
    hand = Hand(vad=None)
    assert hand.speak(spoken("time")) == []
    events = hand.brain(SpeechStarted(item_id="x", pts=10**9), SpeechStopped(item_id="x", pts=2 * 10**9))
    assert types(events)[:3] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert hand.frames() == []
    assert types(answer(hand))[0] == "response.created"


# Tools ----------------------------------------------------------------------------------------------------------------


def test_a_tool_turn_has_the_order_of_the_service() -> None:
    """The call is an item of the response; its result is an item, and reaches the brain before what follows."""
    hand = Hand(session=TEXT)
    hand.say()
    hand.client("response.create")
    hand.frames()
    events = answer(hand, "r", ToolCall(call_id="c", name="f", arguments='{"a": 1}', response_id="r"))
    assert types(events) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    output = {"type": "function_call_output", "call_id": "c", "output": "42"}
    assert types(hand.client("conversation.item.create", item=output)) == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert hand.frames() == []
    assert types(hand.client("response.create")) == ["response.created"]
    assert hand.frames() == [ToolResult(call_id="c", output="42")]
    assert types(answer(hand, "s"))[-1] == "response.done"


def test_a_missing_result_does_not_stop_the_conversation() -> None:
    """Asked for a response while a result is missing, the brain gets what there is, and is asked."""
    hand = Hand()
    hand.say()
    hand.client("response.create")
    answer(
        hand, "r", ToolCall(call_id="c", name="f", response_id="r"), ToolCall(call_id="d", name="f", response_id="r")
    )
    hand.frames()
    hand.client("conversation.item.create", item={"type": "function_call_output", "call_id": "d", "output": "1"})
    hand.client("response.create")
    assert hand.frames() == [ToolResult(call_id="d", output="1"), Respond()]


# The frames for the brain ---------------------------------------------------------------------------------------------


def test_nothing_new_is_a_respond() -> None:
    """`response.create` without anything new asks the brain to respond, with its instructions."""
    hand = Hand()
    hand.client("response.create", response={"instructions": "Greet."})
    assert hand.frames() == [Respond(instructions="Greet.")]


def test_settings_of_one_response_hold_for_it_alone() -> None:
    """Instructions and tools of a `response.create` are set before the turn, and set back after it."""
    hand = Hand(session={"instructions": "Be kind."})
    tool = {"type": "function", "name": "f"}
    hand.say()
    hand.client("response.create", response={"instructions": "Be rude.", "tools": [tool]})
    assert [type(frame) for frame in hand.frames()] == [Configure, UserText]
    answer(hand)
    assert hand.frames() == [Configure(instructions="Be kind.", schemas=())]


def test_the_brain_is_told_how_the_session_begins() -> None:
    """The brain gets the turn control and its configuration."""
    assert Hand().first == [TurnControl()]
    assert Hand(vad=None, session={"instructions": "Be kind."}).first == [Configure(instructions="Be kind.")]


def test_calls_that_the_brain_answers_are_none_of_the_clients() -> None:
    """Nor are they waited for."""
    hand = Hand()
    hand.say()
    hand.client("response.create")
    events = hand.brain(
        ResponseStarted(response_id="r"),
        ToolCall(call_id="c", name="f", response_id="r", handled=True),
        ResponseEnded(response_id="r"),
    )
    assert types(events) == ["response.done"]
    assert events[0]["response"]["output"] == []


def test_an_update_configures_the_brain() -> None:
    """What of an update concerns the brain becomes one `Configure`; what is null is cleared."""
    hand = Hand()
    tool = {"type": "function", "name": "f", "parameters": {}}
    (event,) = hand.update(instructions="Be brief.", tools=[tool], audio={"output": {"voice": "marin"}})
    assert event["type"] == "session.updated"
    assert event["session"]["instructions"] == "Be brief."
    assert hand.frames() == [Configure(instructions="Be brief.", schemas=(tool,), voice="marin")]
    hand.update(audio={"input": {"turn_detection": None}})
    assert hand.core.session["audio"]["input"]["turn_detection"] is None
    assert hand.core.session["audio"]["output"]["voice"] == "marin"
    assert hand.frames() == []


def test_history_is_remembered_and_not_answered() -> None:
    """What stands before somebody else's words is history; the user's last words are the turn."""
    hand = Hand()
    hand.say("hello")
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}
    hand.client("conversation.item.create", item=said)
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    hand.client("conversation.item.create", item=call)
    hand.client("conversation.item.create", item={"type": "function_call_output", "call_id": "c", "output": "1"})
    hand.say("and now?")
    hand.say("well?")
    rule = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Rule."}]}
    hand.client("conversation.item.create", item=rule)
    hand.client("response.create")
    frames = hand.frames()
    assert [(frame.role, frame.text) for frame in frames if isinstance(frame, Remember)] == [
        ("user", "hello"),
        ("assistant", "Hi."),
        ("call", "{}"),
        ("result", "1"),
        ("system", "Rule."),
    ]
    assert isinstance(frames[-1], UserText)
    assert frames[-1].text == "and now?\nwell?"


def test_pictures_and_sound_in_an_item() -> None:
    """An image goes before the words it belongs to; sound in an item is a spoken turn."""
    hand = Hand()
    url = f"data:image/png;base64,{base64.b64encode(b'pixels').decode()}"
    content: list[dict[str, Any]] = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": url},
    ]
    hand.client("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    hand.client("response.create")
    picture, words = hand.frames()
    assert isinstance(picture, Image)
    assert (picture.data, picture.format) == (b"pixels", "png")
    assert isinstance(words, UserText)
    answer(hand)
    content = [{"type": "input_audio", "audio": base64.b64encode(bytes(4800)).decode()}]
    hand.client("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    hand.client("response.create")
    assert [type(frame) for frame in hand.frames(sound=True)] == [Played, Audio, Commit]


def test_items_stand_where_they_are_put() -> None:
    """`previous_item_id` puts an item behind another, `root` puts it first, and the brain gets them in that order."""
    hand = Hand()
    first = hand.say("b")[0]
    assert first["previous_item_id"] is None
    second = hand.say("c")[0]
    assert second["previous_item_id"] == first["item"]["id"]
    assert hand.say("a", previous_item_id="root")[0]["previous_item_id"] is None
    assert hand.say("b2", previous_item_id=first["item"]["id"])[0]["previous_item_id"] == first["item"]["id"]
    hand.client("response.create")
    (frame,) = hand.frames()
    assert isinstance(frame, UserText)
    assert frame.text == "a\nb\nb2\nc"


def test_a_deleted_item_is_gone() -> None:
    """A deleted item is told to nobody, and cannot be had any more."""
    hand = Hand()
    item = hand.say()[0]["item"]["id"]
    assert types(hand.client("conversation.item.deleted"[:-1], item_id=item)) == ["conversation.item.deleted"]
    assert error(hand.client("conversation.item.retrieve", item_id=item))["code"] == "item_retrieve_invalid_item_id"
    hand.client("response.create")
    assert hand.frames() == [Respond()]


# Responses and interruptions ------------------------------------------------------------------------------------------


def test_speech_ends_the_response() -> None:
    """Speech interrupts: the brain at once, the client by a `response.done` that says why."""
    hand = Hand()
    hand.say()
    hand.client("response.create")
    hand.brain(ResponseStarted(response_id="r"), Text(text="Well,", response_id="r", item_id="i"), sound(400))
    hand.frames()
    events = hand.speak(spoken("time", 0))
    assert types(events)[:1] == ["input_audio_buffer.speech_started"]
    done = events[-1]
    assert done["type"] == "response.done"
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["response"]["output"][0]["status"] == "incomplete"
    assert [type(frame) for frame in hand.frames()][:2] == [Interrupt, SpeechStarted]
    late = hand.brain(
        Text(text=" no", response_id="r"),
        sound(),
        ToolCall(call_id="c", name="f", response_id="r"),
        ResponseEnded(response_id="r", outcome="interrupted"),
    )
    assert late == []


def test_speech_leaves_the_response_alone_if_it_is_told_to() -> None:
    """Without `interrupt_response` the response goes on, and the turn is answered when it is over."""
    turns = {"type": "server_vad", "interrupt_response": False}
    hand = Hand(session={"audio": {"input": {"turn_detection": turns}}})
    hand.client("response.create")
    hand.brain(ResponseStarted(response_id="r"), Text(text="Well,", response_id="r"))
    hand.frames()
    hand.speak(spoken("time"))
    assert not [frame for frame in hand.frames() if isinstance(frame, Interrupt | Commit)]
    assert types(hand.brain(ResponseEnded(response_id="r")))[-1] == "response.done"
    assert hand.frames() == [Commit()]


def test_cancel_and_truncate() -> None:
    """A cancelled response says so; what was heard of it is told to the brain, by the brain's own names."""
    hand = Hand()
    hand.say()
    response = hand.client("response.create")[0]["response"]["id"]
    item = hand.brain(ResponseStarted(response_id="r"), Text(text="Well,", response_id="r", item_id="i"), sound(400))[0]
    hand.frames()
    events = hand.client("response.cancel", response_id=response)
    assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert [type(frame) for frame in hand.frames()] == [Interrupt]
    id = item["item"]["id"]
    (cut,) = hand.client("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=150)
    assert (cut["item_id"], cut["content_index"], cut["audio_end_ms"]) == (id, 0, 150)
    assert hand.frames() == [Played(response_id="r", item_id="i", ms=150.0, done=True)]
    (kept,) = hand.client("conversation.item.retrieve", item_id=id)
    assert kept["item"]["content"] == [{"type": "output_audio"}]
    problem = error(hand.client("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=151))
    assert problem["code"] == "invalid_value"
    assert "Audio content of 150ms is already shorter than 151ms" in problem["message"]


@pytest.mark.parametrize("change", ["truncate", "delete"])
def test_a_change_of_an_item_in_progress_ends_its_response(change: str) -> None:
    """A truncation is all that the Agents SDK sends at a barge-in. What was acknowledged stays as it is."""
    hand = Hand()
    hand.say()
    hand.client("response.create")
    item = hand.brain(ResponseStarted(response_id="r"), Text(text="Well,", response_id="r", item_id="i"), sound(400))[0]
    hand.frames()
    item_id = item["item"]["id"]
    where = {"content_index": 0, "audio_end_ms": 150} if change == "truncate" else {}
    events = hand.client(f"conversation.item.{change}", item_id=item_id, **where)
    assert types(events)[-2:] == ["response.done", f"conversation.item.{change}d"]
    assert events[-2]["response"]["status"] == "cancelled"
    heard = 150.0 if change == "truncate" else 0.0
    frames = hand.frames()
    assert [frame for frame in frames if isinstance(frame, Played)] == [
        Played(response_id="r", item_id="i", ms=heard, done=True)
    ]
    assert [type(frame) for frame in frames if not isinstance(frame, Played)] == [Interrupt]
    assert hand.brain(Text(text=" the rest", response_id="r", item_id="i"), sound(400)) == []
    assert hand.brain(ResponseEnded(response_id="r", outcome="interrupted")) == []
    if change == "truncate":
        (kept,) = hand.client("conversation.item.retrieve", item_id=item_id)
        assert kept["item"]["content"] == [{"type": "output_audio"}]
    else:
        assert item_id not in hand.core.conversation
    hand.core.close()
    assert hand.frames() == []


def test_a_response_outside_the_conversation() -> None:
    """It is text, beside a response in progress, and leaves the conversation as it is."""
    hand = Hand(session={"instructions": "Be kind."})
    hand.client("response.create")
    hand.frames()
    note = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Is it about billing?"}]}
    wanted = {"conversation": "none", "instructions": "Say yes or no.", "input": [note], "metadata": {"topic": "b"}}
    (created,) = hand.client("response.create", response=wanted)
    response = created["response"]
    assert (response["conversation_id"], response["output_modalities"]) == (None, ["text"])
    assert response["metadata"] == {"topic": "b"}
    assert hand.frames() == [Respond(instructions="Say yes or no.\n\nIs it about billing?", out_of_band=response["id"])]
    items = [item.id for item in hand.core.conversation]
    events = hand.brain(OutOfBand(name=response["id"], text="Yes."))
    assert types(events) == [
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Yes."}]
    assert [item.id for item in hand.core.conversation] == items
    assert hand.core.reply is not None, "the other one goes on"


def test_a_response_outside_the_conversation_that_fails_or_is_cancelled() -> None:
    """It ends once, whatever comes late; and there are not more of them than the server allows."""
    hand = Hand()
    ask = {"conversation": "none", "instructions": "Sum up."}
    first, second = (hand.client("response.create", response=ask)[0]["response"]["id"] for _ in range(2))
    (failed,) = hand.brain(OutOfBand(name=first, text="", reason="no model"))
    assert failed["response"]["status_details"]["error"]["message"] == "no model"
    (cancelled,) = hand.client("response.cancel", response_id=second)
    assert cancelled["response"]["status"] == "cancelled"
    assert hand.brain(OutOfBand(name=first, text="late"), OutOfBand(name=second, text="late")) == []
    for _ in range(16):
        assert types(hand.client("response.create", response=ask)) == ["response.created"]
    assert error(hand.client("response.create", response=ask))["code"] == "too_many_responses"


def test_what_is_not_cut_was_heard() -> None:
    """When the next turn comes, what was sent and not truncated counts as played, once."""
    hand = Hand()
    hand.say()
    hand.client("response.create")
    answer(hand, "r", sound(300))
    hand.frames()
    hand.say()
    hand.client("response.create")
    assert hand.frames()[0] == Played(response_id="r", item_id="i", ms=300.0, done=True)
    answer(hand, "s", sound(200, response="s"))
    hand.core.close()
    assert hand.frames() == [Played(response_id="s", item_id="i", ms=200.0, done=True)]


def test_an_unplayed_item_that_is_deleted_was_not_heard() -> None:
    """Deleting an item that was not played reports that it was not heard."""
    hand = Hand()
    hand.client("response.create")
    item = answer(hand, "r", sound(300))[0]["item"]["id"]
    hand.frames()
    hand.client("conversation.item.delete", item_id=item)
    assert hand.frames() == [Played(response_id="r", item_id="i", ms=0.0, done=True)]


def test_a_cancel_before_the_brain_has_begun() -> None:
    """The response is done at once, and what the brain begins for it all the same is ended and not shown."""
    hand = Hand()
    hand.say()
    hand.client("response.create")
    assert types(hand.client("response.cancel")) == ["response.done"]
    hand.frames()
    assert hand.brain(ResponseStarted(response_id="r"), Text(text="no", response_id="r")) == []
    assert [type(frame) for frame in hand.frames()] == [Interrupt]
    hand.say("again")
    hand.client("response.create")
    assert answer(hand, "s")[-1]["response"]["status"] == "completed"


def test_a_late_end_does_not_end_the_next_response() -> None:
    """An interrupted response of the brain's that ends late leaves the one that was asked for meanwhile alone."""
    hand = Hand()
    hand.client("response.create")
    hand.brain(ResponseStarted(response_id="r"), Text(text="one", response_id="r"))
    hand.client("response.cancel")
    hand.client("response.create")
    assert hand.brain(ResponseEnded(response_id="r", outcome="interrupted")) == []
    assert answer(hand, "s")[-1]["response"]["status"] == "completed"


def test_the_brains_own_interrupt() -> None:
    """A brain that interrupts itself cancels its response; an interrupt of ours that comes back does nothing."""
    hand = Hand()
    hand.client("response.create")
    hand.brain(ResponseStarted(response_id="r"), Text(text="one", response_id="r"))
    assert hand.brain(Interrupt(epoch=1))[-1]["response"]["status"] == "cancelled"
    hand.client("response.create")
    hand.brain(Text(text="two", response_id="s"))
    assert hand.brain(Interrupt(epoch=1)) == []


def test_a_response_that_nobody_asked_for() -> None:
    """A brain may speak by itself, also without a `ResponseStarted`, and one response ends the one before it."""
    hand = Hand()
    events = hand.brain(Text(text="Are you there?", response_id="a"), ResponseStarted(response_id="b"))
    assert [each["type"] for each in events if each["type"].startswith("response.") and "item" not in each][:1] == [
        "response.created"
    ]
    assert [event["response"]["status"] for event in events if "response" in event] == [
        "in_progress",
        "completed",
        "in_progress",
    ]


def test_failures() -> None:
    """A failed response says so; a fatal failure fails it and is an error, and another is an error alone."""
    hand = Hand()
    hand.client("response.create")
    failed = hand.brain(
        ResponseStarted(response_id="r"), ResponseEnded(response_id="r", outcome="failed", reason="quota")
    )
    assert failed[-1]["response"]["status"] == "failed"
    assert failed[-1]["response"]["status_details"]["error"]["code"] == "quota"
    hand.client("response.create")
    assert types(hand.brain(Failure(message="lost a frame"))) == ["error"]
    assert types(hand.brain(Failure(message="gone", fatal=True))) == ["response.done", "error"]


def test_usage() -> None:
    """The brain's usage is the response's."""
    hand = Hand()
    hand.client("response.create")
    used = Usage(response_id="r", input_tokens=10, output_tokens=5, input_audio_tokens=4, cached_tokens=2)
    usage = answer(hand, "r", Text(text="x", response_id="r"), used)[-1]["response"]["usage"]
    assert usage["total_tokens"] == 15
    assert usage["input_token_details"]["text_tokens"] == 6
    assert usage["input_token_details"]["cached_tokens"] == 2


def test_sound_without_a_response_is_the_users() -> None:
    """The user's own sound that passes a brain by is never echoed."""
    hand = Hand()
    assert hand.brain(Audio(samples=tone(), rate=16_000)) == []


def test_replies_are_resampled_and_cut() -> None:
    """Sound in another rate comes out in the session's, to its last sample, in deltas of half a second at most."""
    hand = Hand()
    hand.client("response.create")
    events = answer(hand, "r", sound(1200, rate=16_000))
    sizes = [len(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"]
    assert max(sizes) <= 24_000
    assert abs(sum(sizes) - 48 * 1200) <= 4


# Formats --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["audio/pcmu", "audio/pcma"])
def test_g711_there_and_back(form: str) -> None:
    """Every byte decodes to a sample that encodes to it, and speech survives with 30 dB."""
    form_codec: Codec = codec({"type": form})
    every = bytes(range(256))
    back = form_codec.encode(form_codec.decode(every))
    different = {(one, other) for one, other in zip(every, back, strict=True) if one != other}
    assert different <= {(0x7F, 0xFF)}  # µ-law has a zero of either sign
    loud = tone(dbfs=-6, rate=8000)
    noise = form_codec.decode(form_codec.encode(loud)).astype(float) - loud
    assert 10 * np.log10(np.mean(loud.astype(float) ** 2) / np.mean(noise**2)) > 30


def test_g711_as_it_is_written_down() -> None:
    """Silence and full scale have the bytes of the standard."""
    ulaw, alaw = codec({"type": "audio/pcmu"}), codec({"type": "audio/pcma"})
    assert ulaw.encode(np.array([0, 32767, -32768], np.int16)) == bytes([0xFF, 0x80, 0x00])
    assert alaw.encode(np.array([0, 32767, -32768], np.int16)) == bytes([0xD5, 0xAA, 0x2A])


def test_a_session_in_g711() -> None:
    """The user's sound is decoded for the brain, and the reply encoded, at 8 kHz."""
    form = {"format": {"type": "audio/pcmu"}}
    hand = Hand(session={"audio": {"input": {**form, "turn_detection": None}, "output": form}})
    hand.core.on_message(wire.encode(wire.AudioAppend(audio=b"\xff" * 800)))
    (frame,) = hand.frames(sound=True)
    assert isinstance(frame, Audio)
    assert (frame.rate, frame.ms) == (8000, 100.0)
    hand.client("response.create")
    events = answer(hand, "r", sound(200, rate=8000))
    assert sum(len(event["delta"]) for event in events if event["type"] == "response.output_audio.delta") == 1600


def test_a_change_of_format_keeps_the_count() -> None:
    """`pts` goes on where the format changes, and detection starts again."""
    ears = UserAudio(None, server_vad)
    pcm, ulaw = codec({"type": "audio/pcm"}), codec({"type": "audio/pcmu"})
    list(ears.take(bytes(48 * 1000)))
    ears.configure(ulaw, None)
    list(ears.take(b"\xff" * 4000))
    ears.configure(pcm, None)
    assert ears.ms == 1500.0
    (frame,) = ears.take(bytes(480))
    assert frame.pts == 1_500_000_000


def test_the_vad_is_set_as_the_session_says() -> None:
    """Threshold and silence are the session's; eagerness is how long a silence is waited for."""
    vad = server_vad({"type": "server_vad", "threshold": 1, "silence_duration_ms": 700})
    assert (vad.threshold, vad.stop_ms) == (0.99, 700.0)
    waits = [server_vad({"type": "semantic_vad", "eagerness": each}).stop_ms for each in ("high", "auto", "low")]
    assert waits == sorted(waits)


# Refusals -------------------------------------------------------------------------------------------------------------

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


# Silence, and late results --------------------------------------------------------------------------------------------


def test_silence_for_too_long_is_a_turn() -> None:
    """With `idle_timeout_ms` the user's silence after a response, once that was heard, makes the brain speak."""
    turns = {"type": "server_vad", "idle_timeout_ms": 5000}
    hand = Hand(session={"audio": {"input": {"turn_detection": turns}}})
    assert hand.speak(bytes(48 * 6000)) == []
    hand.client("response.create")
    answer(hand, "r", sound(1000))
    hand.frames()
    assert hand.speak(bytes(48 * 5900)) == []
    events = hand.speak(bytes(48 * 200))
    assert types(events) == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert (events[0]["audio_start_ms"], events[0]["audio_end_ms"]) == (7000, 12_000)
    assert [type(frame) for frame in hand.frames()] == [Played, Respond]
    assert types(answer(hand, "s"))[0] == "response.created"


def test_a_result_that_comes_too_late() -> None:
    """A result for a response before the latest reaches the brain, which is asked all the same."""
    hand = Hand()
    hand.client("response.create")
    answer(hand, "r", ToolCall(call_id="c", name="f", response_id="r"))
    hand.say()
    hand.client("response.create")
    answer(hand, "s")
    hand.frames()
    hand.client("conversation.item.create", item={"type": "function_call_output", "call_id": "c", "output": "1"})
    hand.client("response.create")
    assert [type(frame) for frame in hand.frames()][-2:] == [ToolResult, Respond]


def test_a_result_for_a_cancelled_response_is_history() -> None:
    """The brain does not wait for it, so it is remembered and not given as a result."""
    hand = Hand()
    hand.client("response.create")
    hand.brain(ResponseStarted(response_id="r"), ToolCall(call_id="c", name="f", response_id="r"))
    hand.client("response.cancel")
    hand.frames()
    hand.client("conversation.item.create", item={"type": "function_call_output", "call_id": "c", "output": "1"})
    hand.client("response.create")
    assert [type(frame) for frame in hand.frames()] == [Remember, Respond]


def test_a_nest_too_deep() -> None:
    """An event nested beyond reason is an error."""
    hand = Hand()
    events = hand.raw('{"type": "session.update", "session": {"tools": ' + "[" * 100_000 + "]" * 100_000 + "}}")
    assert types(events) == ["error"]


def test_a_request_for_a_turn_that_is_being_answered() -> None:
    """Soon after a spoken turn `response.create` means the answer to that; later the brain is asked again."""
    hand = Hand()
    hand.speak(spoken("time"))
    hand.frames()
    assert types(hand.client("response.create")) == ["response.created"]
    assert hand.frames() == []
    assert types(answer(hand))[-1] == "response.done"
    hand.speak(spoken("time", 5000))
    hand.frames()
    hand.client("response.create")
    assert hand.frames() == [Respond()]


# Whatever comes -------------------------------------------------------------------------------------------------------

CLIENT: list[tuple[str, dict[str, Any]]] = [
    ("response.create", {}),
    ("response.create", {"response": {"output_modalities": ["text"], "instructions": "x"}}),
    ("response.cancel", {}),
    ("input_audio_buffer.commit", {}),
    ("input_audio_buffer.clear", {}),
    (
        "conversation.item.create",
        {"item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}},
    ),
    ("conversation.item.create", {"item": {"type": "function_call_output", "call_id": "c", "output": "1"}}),
    ("session.update", {"session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}}),
    (
        "session.update",
        {"session": {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}},
    ),
    ("session.update", {"session": {"type": "realtime", "output_modalities": ["text"]}}),
]
BRAIN: list[Frame] = [
    frame
    for response in ("r", "s", "")
    for frame in (
        ResponseStarted(response_id=response),
        Text(text="x", response_id=response, item_id="i"),
        sound(20, response=response),
        ToolCall(call_id="c", name="f", response_id=response),
        Usage(response_id=response, input_tokens=1),
        ResponseEnded(response_id=response),
        ResponseEnded(response_id=response, outcome="interrupted"),
        ResponseEnded(response_id=response, outcome="failed"),
    )
] + [Transcript(text="x", final=True), Failure(message="x"), Interrupt(epoch=1), Interrupt(epoch=2)]
STEPS = [("client", at) for at in range(len(CLIENT))] + [("brain", at) for at in range(len(BRAIN))]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*STEPS, ("speech", 0), ("silence", 0), ("truncate", 5), ("delete", 0)]), max_size=40))
def test_whatever_comes_the_order_holds(steps: list[tuple[str, int]]) -> None:
    """One response at a time, all of it between created and done, items added before done, and no exception."""
    hand = Hand()
    for kind, at in steps:
        if kind == "client":
            hand.client(CLIENT[at][0], **CLIENT[at][1])
        elif kind == "brain":
            hand.brain(BRAIN[at])
        elif kind in ("speech", "silence"):
            hand.speak(spoken("yes", 300) if kind == "speech" else bytes(48 * 300), ms=500)
        elif items := list(hand.core.conversation):
            where = {"content_index": 0, "audio_end_ms": at} if kind == "truncate" else {}
            hand.client(f"conversation.item.{kind}", item_id=items[-1].id, **where)
    hand.core.close()
    current = ""
    added: set[str] = set()
    for event in hand.seen:
        if event["type"] == "response.created":
            assert not current
            current = event["response"]["id"]
        elif event["type"] == "response.done":
            assert event["response"]["id"] == current
            assert all(item["status"] != "in_progress" for item in event["response"]["output"])
            current = ""
        elif "response_id" in event:
            assert event["response_id"] == current
        elif event["type"] == "conversation.item.added":
            added.add(event["item"]["id"])
        elif event["type"] == "conversation.item.done":
            assert event["item"]["id"] in added
        wire.decode_server_event(msgspec.json.encode(event))
    assert bool(current) == (hand.core.reply is not None)


# Recordings -----------------------------------------------------------------------------------------------------------

FOLDER = os.environ.get("BARGEIN_RECORDINGS", "")
SCRIPTS: dict[str, list[tuple[Frame, ...]]] = {
    "openai_text_in_audio_out": [(Text(text="Hi there!", response_id="r", item_id="i"), sound())],
    "openai_tool_call_round": [
        (ToolCall(call_id="call_uMNE0Myi2tDTPu0w", name="get_weather", arguments="{}", response_id="r"),),
        (Text(text="Foggy.", response_id="s", item_id="i"),),
    ],
    "openai_audio_in_server_vad": [(Text(text="Hello", response_id="r", item_id="i"), sound())],
}


@pytest.mark.skipif(not FOLDER, reason="BARGEIN_RECORDINGS is not set")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_events_have_the_fields_of_the_recordings(name: str) -> None:
    """Replayed, a recorded client gets the same kinds of events in the same order, with the same fields."""
    yaml = pytest.importorskip("yaml")
    recorded = yaml.safe_load(Path(FOLDER, f"{name}.yaml").read_text())["interactions"]
    recorded = [each for each in recorded if each["kind"] == "message"]
    theirs = [each["data"] for each in recorded if each["direction"] == "received"]
    hand = Hand(model=theirs[0]["session"]["model"])
    hand.core.open()
    hand.events()
    script = iter(SCRIPTS[name])
    for each in recorded:
        if each["direction"] == "sent" and each["data"]["type"] != "input_audio_buffer.append":
            hand.client(**each["data"])
            if each["data"]["type"] == "response.create":
                response = "s" if len(SCRIPTS[name]) > 1 and "r" in hand.core._responses._over else "r"
                answer(hand, response, *next(script))
    if name == "openai_audio_in_server_vad":
        item = hand.speak(spoken("hello"))[0]["item_id"]
        hand.brain(Transcript(text="Hello", item_id=item), Transcript(text="Hello, you.", item_id=item, final=True))
        answer(hand, "r", *next(script))
    for type in dict.fromkeys(types(theirs)):
        one = next(event for event in theirs if event["type"] == type)
        other = next((event for event in hand.seen if event["type"] == type), None)
        assert other is not None, type
        assert set(keys(other)) == set(keys(one)), type
    if name == "openai_text_in_audio_out":
        order = [kind for kind, _ in itertools.groupby(types(theirs))]
        assert order == [kind for kind, _ in itertools.groupby(types(hand.seen))]
