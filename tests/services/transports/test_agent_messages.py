"""What an agent tells is understood by its peer: the same frames, as far as the messages say."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import (
    Failure,
    Frame,
    Hold,
    Image,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    Transcript,
    Usage,
    UserText,
)
from bargein.processors import BargeInLatency, Commit, TurnLatency
from bargein.services.frames import ToolFinished, ToolProgress, ToolStarted
from bargein.services.transports import control
from bargein.services.transports.control import ControlError, Finish, Ready, decode_agent_message

FRAMES: list[Frame] = [
    SpeechStarted(item_id="a"),
    SpeechStopped(item_id="a"),
    Transcript(text="Hello", item_id="a", final=True, speaker="agent"),
    ResponseStarted(response_id="r"),
    ResponseEnded(response_id="r", outcome="interrupted"),
    Text(text="Hel", response_id="r", item_id="a", final=True),
    ToolCall(call_id="c", name="weather", arguments='{"city": "Paris"}'),
    ToolStarted(call_id="c", name="weather"),
    ToolProgress(call_id="c", name="weather", message="half", share=0.5),
    ToolFinished(call_id="c", name="weather", output="sunny", seconds=1.5),
    TurnLatency(ms=640.5, response_id="r"),
    BargeInLatency(ms=120.0, interrupted=3),
    Usage(response_id="r", input_tokens=5, output_tokens=7),
    Interrupt(epoch=3, reason="the user spoke"),
    Hold(),
    Resume(),
    Failure(message="no such voice", fatal=True),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_what_is_told_is_understood(frame: Frame) -> None:
    """Each frame that has a message comes out of it again."""
    message = control.encode_agent_message(frame)
    assert message is not None
    assert decode_agent_message(message) == frame


def test_every_message_is_among_them() -> None:
    """So that none is forgotten here."""
    assert {type(frame) for frame in FRAMES} == set(control.agent_messages._ENCODERS)


def test_what_is_between_the_two_ends() -> None:
    """The first message, the last, and an error."""
    assert decode_agent_message(control.encode_ready("one", 24_000)) == Ready(session="one", rate=24_000)
    assert decode_agent_message(control.encode_end("done")) == Finish(reason="done")
    assert decode_agent_message(control.encode_error(ControlError("this is not sound"))) == Failure(
        message="this is not sound"
    )


@pytest.mark.parametrize(
    "frame", [UserText(text="hi"), Commit(), Interrupt(reason="stop"), Image(data=b"abc", format="png", detail="low")]
)
def test_what_a_peer_says_is_understood(frame: UserText | Commit | Interrupt | Image) -> None:
    """The other way as well."""
    assert control.decode_user_message(control.encode_user_message(frame)) == frame


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_is_never_more_than_an_error(data: str | bytes) -> None:
    """Nothing else is raised."""
    with suppress(ControlError):
        decode_agent_message(data)
