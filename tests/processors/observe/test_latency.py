"""Turns and barge-ins are measured where they are heard."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Audio, Hold, Resume, SpeechStarted, SpeechStopped, UserText
from bargein.pipeline.testing import Harness, check_processor, framed, silence, tone
from bargein.processors import BargeInLatency, Latency, TurnLatency

pytestmark = pytest.mark.virtual


async def play(harness: Harness, ms: int, response: str = "r") -> None:
    for frame in framed(tone(300, ms), response_id=response):
        await harness.send(frame)


async def test_a_turn_is_measured_from_the_end_of_speech_to_the_first_sound() -> None:
    """What the detector needed to notice the end counts as well."""
    async with Harness(Latency()) as harness:
        await harness.send(SpeechStopped(lag_ms=300))
        await anyio.sleep(0.5)
        await play(harness, 100)
        (turn,) = harness.of(TurnLatency)
        assert turn.ms == pytest.approx(800)
        assert turn.response_id == "r"


async def test_answer_begins_with_audible_sound() -> None:
    """The first audible sample counts."""
    async with Harness(Latency()) as harness:
        await harness.send(UserText(text="hello"))
        for frame in framed(silence(100), response_id="r"):
            await harness.send(frame)
        await anyio.sleep(1)
        await play(harness, 20)
        assert [turn.ms for turn in harness.of(TurnLatency)] == [pytest.approx(1000)]


async def test_user_sound_is_not_an_answer() -> None:
    """Sound without a response passes."""
    async with Harness(Latency()) as harness:
        await harness.send(SpeechStopped())
        await play(harness, 100, response="")
        assert len(harness.of(Audio)) == 5
        assert not harness.of(TurnLatency)


async def test_last_end_of_speech_counts() -> None:
    """A user who goes on speaking has not ended the turn."""
    async with Harness(Latency()) as harness:
        await harness.send(SpeechStopped(), SpeechStarted())
        await anyio.sleep(1)
        await harness.send(SpeechStopped())
        await anyio.sleep(0.2)
        await play(harness, 20)
        assert [turn.ms for turn in harness.of(TurnLatency)] == [pytest.approx(200)]


async def test_a_barge_in_is_measured_from_the_first_sound_of_speech_to_silence() -> None:
    """A hold is silence already; what follows confirms it."""
    async with Harness(Latency()) as harness:
        await play(harness, 2000)
        await anyio.sleep(1)
        await harness.send(SpeechStarted(lag_ms=120))
        await harness.send(Hold())
        await anyio.sleep(0.4)
        number = harness.interrupt()
        (reaction,) = harness.of(BargeInLatency)
        assert reaction.ms == pytest.approx(120)
        assert reaction.interrupted == number


@pytest.mark.parametrize("hold", [True, False])
async def test_interrupt_before_its_speech_event(hold: bool) -> None:
    """A hold and an interrupt are urgent, and overtake `SpeechStarted`."""
    async with Harness(Latency()) as harness:
        await play(harness, 2000)
        await anyio.sleep(1)
        if hold:
            await harness.send(Hold())
            await anyio.sleep(0.2)
            await harness.send(SpeechStarted(lag_ms=300))
            await anyio.sleep(0.2)
            harness.interrupt()
        else:
            harness.interrupt()
            await anyio.sleep(0.2)
            await harness.send(SpeechStarted(lag_ms=300))
        assert [reaction.ms for reaction in harness.of(BargeInLatency)] == [pytest.approx(100)]
        await harness.send(SpeechStarted())
        assert len(harness.of(BargeInLatency)) == 1


async def test_application_interrupt_is_not_a_barge_in() -> None:
    """The user may speak afterwards."""
    async with Harness(Latency()) as harness:
        await play(harness, 2000)
        await anyio.sleep(0.5)
        harness.interrupt()
        await anyio.sleep(1)
        await harness.send(SpeechStarted(lag_ms=100))
        assert not harness.of(BargeInLatency)


async def test_resumed_hold_is_not_a_barge_in() -> None:
    """A hold that is resumed is not measured."""
    async with Harness(Latency()) as harness:
        await play(harness, 2000)
        await harness.send(SpeechStarted())
        await harness.send(Hold())
        await anyio.sleep(0.1)
        await harness.send(Resume())
        harness.interrupt()
        assert not harness.of(BargeInLatency)


async def test_speech_during_silence_is_not_a_barge_in() -> None:
    """There was no sound to stop."""
    async with Harness(Latency()) as harness:
        await play(harness, 100)
        await anyio.sleep(1)
        await harness.send(SpeechStarted(lag_ms=100))
        harness.interrupt()
        assert not harness.of(BargeInLatency)


async def test_typed_text_starts_the_turn() -> None:
    """Also where a brain above has taken the text."""
    latency = Latency()
    async with Harness(latency) as harness:
        latency.note_question()
        await anyio.sleep(0.3)
        await play(harness, 100)
        assert [turn.ms for turn in harness.of(TurnLatency)] == [pytest.approx(300)]


def test_thresholds_are_samples() -> None:
    """Others are refused, with the value."""
    with pytest.raises(ValueError, match="threshold=-1"):
        Latency(threshold=-1)


async def test_it_conforms() -> None:
    """As every processor must."""
    await check_processor(Latency)
