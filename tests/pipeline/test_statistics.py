"""Statistics: what is counted, and that a snapshot stays as it was."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Hop, Interrupt, Pipeline
from bargein.pipeline.testing import Harness

from .kit import Plain, Resets, Waits, audio


@pytest.mark.virtual
async def test_a_snapshot_is_frozen() -> None:
    """It neither changes nor can be changed."""
    async with Pipeline(Plain(), Waits(0.5)).session() as session:
        await session.send(audio())
        snapshot = session.statistics()
        session.interrupt()
        await session.send(audio())
        assert (snapshot.epoch, snapshot.processors["Plain"].frames_in) == (0, 1)
        with pytest.raises(AttributeError):
            snapshot.epoch = 5  # type: ignore[misc]
    final = session.statistics()
    assert (final.epoch, final.interrupts, final.processors["Plain"].frames_in) == (1, 1, 2)


@pytest.mark.virtual
async def test_time_spent_waiting_is_counted() -> None:
    """For a processor with an inbox, the time from taking a frame to asking for the next one counts."""
    async with Harness(Waits(0.5)) as harness:
        await harness.send(audio(), audio())
        await anyio.sleep(10)
        assert harness.statistics().processors["Waits"].busy_ms == pytest.approx(1000)


async def test_time_spent_computing_is_estimated() -> None:
    """For a fused processor, one sweep in 256 is timed, and every watched one."""
    seen: list[Hop] = []
    async with Harness(Plain()) as harness:
        with harness.watch(seen):
            await harness.send(*(audio() for _ in range(10)))
        assert harness.statistics().processors["Plain"].busy_ms > 0
        await harness.send(*(audio() for _ in range(1000)))
        assert harness.statistics().processors["Plain"].busy_ms > 0
    assert len(seen) == 20


async def test_frames_in_and_out() -> None:
    """Interrupts count as frames for those that take them."""
    resets = Resets()
    async with Harness(resets, Waits()) as harness:
        await harness.send(audio(), audio())
        harness.interrupt()
        await harness.end()
    each = harness.statistics().processors
    assert (each["Resets"].frames_in, each["Resets"].frames_out) == (3, 2)
    assert (each["Waits"].frames_in, each["Waits"].frames_out) == (2, 2)
    assert len(harness.of(Interrupt)) == 1
    assert list(each) == ["above", "Resets", "Waits", "below"]


async def test_a_processor_may_count_for_itself() -> None:
    """Its own snapshot stands beside what is counted of every processor."""

    class Counts(Plain):
        def statistics(self) -> str:
            return "two and a half"

    async with Harness(Counts(), Plain()) as harness:
        each = harness.statistics().processors
        assert (each["Counts"].own, each["Plain"].own) == ("two and a half", None)
