"""The harness: it sends, records, and reads exact times."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bargein.pipeline import Audio, End, Interrupt, Pipeline, Played, Processor, SpeechStarted, Text
from bargein.pipeline.testing import Arrival, Harness, Timeline, framed, tone
from tests.pipeline.kit import Plain, Waits, audio, index


class Reports(Processor):
    def process(self, frame: Audio) -> Iterator[Audio | Played]:
        yield frame
        yield Played(response_id="r", ms=20)


async def test_harness_records_both_ends() -> None:
    """What comes out below and what comes out above are in one timeline."""
    async with Harness(Reports()) as harness:
        await harness.send(audio(1), Text(text="passes"), SpeechStarted())
        assert await harness.end() == [audio(1), Played(response_id="r", ms=20), Text(text="passes"), SpeechStarted()]
        assert harness.of(Audio) == [audio(1)]


@pytest.mark.virtual
async def test_times_are_exact() -> None:
    """On a virtual clock, to the microsecond."""
    async with Harness(Waits(0.25)) as harness:
        await harness.send(audio(0), audio(1))
        await harness.end()
    assert [arrival.at for arrival in harness.timeline] == [pytest.approx(0.25), pytest.approx(0.5)]
    assert str(harness.timeline).splitlines()[0] == "    250.0 ms  Audio(20 ms, 16000 Hz, 1 ch, pts=0.000s)"


@pytest.mark.virtual
async def test_play_sends_at_media_time() -> None:
    """Frames are offered when their pts says."""
    async with Harness(Plain()) as harness:
        await harness.play(list(framed(tone(ms=100))))
        await harness.end()
    assert [arrival.at for arrival in harness.timeline] == pytest.approx([0, 0.02, 0.04, 0.06, 0.08])


@pytest.mark.virtual
async def test_next_waits_for_a_class() -> None:
    """It passes others over, and fails with the timeline so far."""
    async with Harness(Waits(0.1)) as harness:
        await harness.send(Text(text="a"), audio(1), audio(2))
        assert index(await harness.next(Audio)) == 1
        assert index(await harness.next(Audio)) == 2
        with pytest.raises(TimeoutError, match=r"no SpeechStarted within 3 s; so far there came:\n +0.0 ms  Text"):
            await harness.next(SpeechStarted, within_seconds=3)


async def test_harness_interrupts() -> None:
    """The interrupt comes out, with its number."""
    async with Harness(Plain()) as harness:
        assert harness.interrupt("test") == 1
        assert harness.frames == [Interrupt(epoch=1, reason="test")]


async def test_harness_takes_chains_and_options() -> None:
    """Any processors, and the options of a session."""
    async with Harness(Pipeline(Plain(), name="inner"), Plain(), fused=False, capacity=3) as harness:
        await harness.send(*(audio(at) for at in range(10)))
        await harness.end()
    assert len(harness.frames) == 10
    assert "inner/Plain" in harness.statistics().processors


async def test_errors_of_the_block_pass() -> None:
    """A failing assertion is not wrapped."""
    with pytest.raises(AssertionError, match="mine"):
        async with Harness(Waits()):
            raise AssertionError("mine")


def test_timelines() -> None:
    """They can be narrowed and stripped of their times."""
    timeline = Timeline([Arrival((0.5, audio(1))), Arrival((1.0, End()))])
    assert timeline.of(Audio).frames() == [audio(1)]
    assert timeline[0].at == 0.5


@pytest.mark.virtual
async def test_two_tasks_may_wait_for_the_next_frame() -> None:
    """Two tasks that wait for the next frame both get one."""
    got: list[Audio] = []

    async def take(harness: Harness) -> None:
        got.append(await harness.next(Audio, within_seconds=5))

    async with Harness(Plain()) as harness, anyio.create_task_group() as group:
        group.start_soon(take, harness)
        group.start_soon(take, harness)
        await harness.settle()
        await harness.send(audio(1), audio(2))
    assert sorted(index(frame) for frame in got) == [1, 2]
