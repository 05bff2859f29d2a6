"""Anything at any time: the order of the events holds."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.pipeline import (
    Failure,
    Frame,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    Transcript,
    Usage,
)
from bargein.services.providers.openai import wire
from tests.services.providers.openai.server.server_kit import Hand, sound, spoken

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
