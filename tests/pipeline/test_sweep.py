"""Sweeps: never re-entered, and bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bargein.pipeline import (
    Audio,
    EmitLimitError,
    Pipeline,
    Played,
    Processor,
    Text,
)
from bargein.pipeline.testing import Harness

from .kit import Plain, Waits, audio, index


@pytest.mark.slow
@pytest.mark.virtual  # two hundred thousand frames; it waits for nothing, so the clock changes nothing
async def test_endless_emission_is_stopped() -> None:
    """A generator that never ends is stopped, whether its frames lie in an inbox or leave the graph."""

    class Endless(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            while True:
                yield frame

    for after in (Waits(), Plain()):
        with pytest.raises(EmitLimitError, match="caused more than 100,000 others") as caught:
            async with Pipeline(Endless(), after).session() as session:
                await session.send(audio())
        assert any("'Endless'" in note or "'Plain'" in note for note in caught.value.__notes__)


@pytest.mark.slow
async def test_answering_each_other_for_ever_is_stopped() -> None:
    """One upstream, one down, without end: the session fails, and the caller gets control back."""

    class Asks(Processor):
        def process(self, frame: Audio | Played) -> Iterator[Text]:
            yield Text(text="?")

    class Tells(Processor):
        def process(self, frame: Text) -> Iterator[Played]:
            yield Played(response_id="r", ms=1)

    with pytest.raises(EmitLimitError, match="do processors answer each other for ever"):
        async with Pipeline(Asks(), Tells()).session() as session:
            await session.send(audio())


async def test_ending_from_inside_a_sweep_keeps_what_is_under_way() -> None:
    """A processor that hangs up through the session still gives what it was about to give."""
    for fused in (True, False):
        hangs_up = HangsUpItself()
        async with Harness(hangs_up, fused=fused) as harness:
            hangs_up.harness = harness
            await harness.send(audio(1))
            await harness.settle()
        assert [index(frame) for frame in harness.of(Audio)] == [1, 1]


class HangsUpItself(Processor):
    harness: Harness

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame
        self.harness.session.end()
        yield frame


async def test_sending_from_inside_a_sweep_waits_for_its_end() -> None:
    """An `offer` made while processors are at work is delivered after them, and re-enters none."""
    order: list[str] = []

    class Echoes(Processor):
        harness: Harness

        def process(self, frame: Text) -> Iterator[Text]:
            order.append(f"begin {frame.text}")
            if frame.text == "a":
                self.harness.session.offer(Text(text="b"))
            yield frame
            order.append(f"end {frame.text}")

    echoes = Echoes()
    async with Harness(echoes) as harness:
        echoes.harness = harness
        await harness.send(Text(text="a"))
    assert order == ["begin a", "end a", "begin b", "end b"]
