"""Interrupts: one synchronous step for one cause."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bargein.pipeline import (
    Audio,
    Interrupt,
    Processor,
    Transcript,
)
from bargein.pipeline.testing import Harness

from .kit import BargesIn, Plain, Resets, audio


@pytest.mark.virtual
async def test_an_interrupt_from_inside_a_sweep_waits_for_its_end() -> None:
    """A tap or a function that interrupts while processors are at work re-enters none of them."""
    running = False

    class Checks(Processor):
        def process(self, frame: Audio | Interrupt) -> Iterator[Audio]:
            nonlocal running
            assert not running, "re-entered"
            running = True
            if isinstance(frame, Audio):
                yield frame
            running = False

    sink = Resets()

    async with Harness(Checks(), interrupting := _Interrupting(), sink) as harness:
        interrupting.harness = harness
        await harness.send(audio(0))
        assert harness.session.epoch == 1
        assert [type(frame).__name__ for frame in sink.seen] == ["Audio", "Interrupt"]


class _Interrupting(Processor):
    harness: Harness

    def process(self, frame: Audio) -> Iterator[Audio]:
        self.harness.interrupt()
        yield frame


@pytest.mark.virtual
async def test_barging_in_twice_for_one_cause_is_one_step() -> None:
    """The processor's interrupts count once a response; the application's count always."""
    async with Harness(BargesIn(), Plain()) as harness:
        await harness.send(Transcript(text="a"))
        assert harness.session.epoch == 0
        await harness.send(audio(0, epoch=0), Transcript(text="b"), Transcript(text="c"))
        assert harness.session.epoch == 1
        assert harness.interrupt() == 2
        assert harness.interrupt() == 3
    assert harness.statistics().coalesced == 2
