"""Turns of the user, typed and spoken: the order of the events, and what is transcribed."""

from __future__ import annotations

import itertools

from bargein.pipeline import Audio, SpeechStarted, SpeechStopped, Transcript, UserText
from bargein.pipeline.testing import tone
from bargein.processors import SpeechContinued
from bargein.services.frames import ClearAudio, Commit
from bargein.services.providers.openai import wire
from tests.services.providers.openai.server.server_kit import MANUAL, PATIENT, TEXT, Hand, answer, error, spoken, types

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
