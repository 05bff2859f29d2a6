"""The messages between an agent and a peer: what comes is checked, what goes says what a page must know."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Delivery, Failure, Image, Interrupt, ResponseEnded, Text, Transcript, UserText, Video
from bargein.processors import Commit
from bargein.services.frames import ToolFinished
from bargein.services.transports import control
from bargein.services.transports.control import ControlError, Finish, Start


def test_what_a_peer_may_send() -> None:
    """Each message is a frame for the graph, or what concerns the transport."""
    start = control.decode_user_message('{"type": "start", "rate": 48000, "params": {"brain": "openai"}, "unknown": 1}')
    assert isinstance(start, Start)
    assert (start.rate, start.channels, start.params) == (48_000, 1, {"brain": "openai"})
    assert control.decode_user_message('{"type": "text", "text": "hello"}') == UserText(text="hello")
    assert control.decode_user_message(b'{"type": "interrupt"}') == Interrupt(reason="asked to")
    assert control.decode_user_message('{"type": "commit"}') == Commit()
    assert control.decode_user_message('{"type": "end", "reason": "bye"}') == Finish(reason="bye")
    picture = base64.b64encode(b"picture").decode()
    assert control.decode_user_message(json.dumps({"type": "image", "data": picture})) == Image(
        data=b"picture", format="jpeg"
    )


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "[]",
        "{}",
        '{"type": "dance"}',
        '{"type": "text"}',
        '{"type": "text", "text": 5}',
        '{"type": "start", "rate": "fast"}',
        '{"type": "image", "data": "no base64!"}',
        '{"type": "image", "data": ""}',
        '{"type": "image", "data": "AAAA", "format": "rgb24"}',
        b"\xff\xfe",
        "[" * 100_000,
    ],
)
def test_what_is_wrong_is_said(message: str | bytes) -> None:
    """Whatever a peer sends, it is a `ControlError` with a sentence, and nothing else."""
    with pytest.raises(ControlError, match="this is no"):
        control.decode_user_message(message)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_is_never_more_than_an_error(data: str | bytes) -> None:
    """Nothing else is raised."""
    with suppress(ControlError):
        control.decode_user_message(data)


def test_a_token_is_not_printed() -> None:
    """Nor what else a peer confides."""
    start = control.decode_user_message('{"type": "start", "token": "secret", "params": {"password": "secret"}}')
    assert "secret" not in repr(start)


def test_what_a_peer_gets() -> None:
    """A message has what a page must know."""

    def encoded(frame: object) -> object:
        message = control.encode_agent_message(frame)  # type: ignore[arg-type]
        return None if message is None else json.loads(message)

    assert encoded(Interrupt(reason="the user spoke").stamped(3)) == {
        "type": "flush",
        "epoch": 3,
        "reason": "the user spoke",
    }
    assert encoded(Transcript(text="Hello", item_id="a", final=True, speaker="agent")) == {
        "type": "transcript",
        "speaker": "agent",
        "item": "a",
        "text": "Hello",
        "final": True,
    }
    assert encoded(Text(text="Hel", response_id="r", item_id="a")) == {
        "type": "text",
        "response": "r",
        "item": "a",
        "text": "Hel",
        "final": False,
    }
    assert encoded(ResponseEnded(response_id="r", outcome="interrupted")) == {
        "type": "response",
        "state": "interrupted",
        "response": "r",
    }
    assert encoded(ToolFinished(call_id="c", name="weather", output="sunny", seconds=1.5)) == {
        "type": "tool",
        "state": "finished",
        "call": "c",
        "name": "weather",
        "output": "sunny",
        "error": False,
        "cancelled": False,
        "seconds": 1.5,
    }
    assert encoded(Failure(message="no")) == {
        "type": "error",
        "code": "failure",
        "message": "no",
        "fatal": False,
    }
    assert encoded(Video(data=b"x", format="jpeg")) is None


def test_every_frame_that_is_taken_for_it_has_a_message() -> None:
    """By a sink if it goes down, by a source if it comes up; and nothing has one that nobody takes."""
    assert set(get_args(control.SinkEvent)) | set(get_args(control.SourceEvent)) == set(
        control.agent_messages._ENCODERS
    )
    assert all(each.delivery is Delivery.UPSTREAM for each in get_args(control.SourceEvent))
    assert not any(each.delivery is Delivery.UPSTREAM for each in get_args(control.SinkEvent))
