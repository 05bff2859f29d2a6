"""Responses and interruptions, and what comes too late."""

from __future__ import annotations

import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Interrupt,
    Played,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from bargein.pipeline.testing import tone
from bargein.services.frames import Commit, OutOfBand, Respond
from bargein.services.providers.openai.server.serve import Remember
from tests.services.providers.openai.server.server_kit import Hand, answer, error, sound, spoken, types


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
