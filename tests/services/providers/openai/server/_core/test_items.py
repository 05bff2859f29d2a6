"""Items and settings of the conversation: the frames for the brain, and calls of tools."""

from __future__ import annotations

import base64
from typing import Any

from bargein.pipeline import Audio, Image, Played, ResponseEnded, ResponseStarted, ToolCall, ToolResult, UserText
from bargein.processors import TurnControl
from bargein.services.frames import Commit, Configure, Respond
from bargein.services.providers.openai.server.serve import Remember
from tests.services.providers.openai.server.server_kit import TEXT, Hand, answer, error, types


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
