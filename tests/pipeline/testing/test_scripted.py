"""Scripts: sources and peers that do as they are told."""

from __future__ import annotations

import pytest

from bargein.pipeline import Audio, ContractError, Interrupt, Pipeline, Text, Transcript
from bargein.pipeline.testing import Harness, Reply, Scripted
from tests.pipeline.kit import Sink, audio, index

pytestmark = pytest.mark.virtual


async def test_a_source() -> None:
    """Without a class among its steps it is one."""
    sink = Sink()
    await Pipeline(Scripted(audio(1), 0.5, audio(2)), sink).run()
    assert [index(frame) for frame in sink.seen] == [1, 2]


async def test_a_peer() -> None:
    """A class waits for such a frame; a reply goes on beside the script and ends with an interrupt."""
    script = Scripted(Transcript, Reply(Text(text="a"), 1, Text(text="b"), 1, Text(text="c")), 0.5, audio(1), Interrupt)
    async with Harness(script) as harness:
        await harness.send(Transcript(text="hello"))
        await harness.settle()
        assert repr(script.steps[1]).startswith("Reply(Text(")
        text = await harness.next(Text)
        assert (text.text, text.epoch) == ("a", 0)
        await harness.next(Audio)
        text = await harness.next(Text)
        assert harness.interrupt() == 1
        await harness.end()
    assert [frame.text for frame in harness.of(Text)] == ["a", "b"]
    assert [arrival.at for arrival in harness.timeline.of(Text)] == pytest.approx([0, 1])


async def test_a_loop_ends_with_its_input() -> None:
    """When nothing more can come, waiting for it ends the script."""
    async with Harness(Scripted(Transcript, Text(text="yes"), loop=True)) as harness:
        await harness.send(Transcript(text="a"), Transcript(text="b"))
        await harness.end()
    assert [frame.text for frame in harness.of(Text)] == ["yes", "yes"]


def test_steps_are_checked() -> None:
    """Anything else is named."""
    with pytest.raises(ContractError, match="not of 'hello'"):
        Scripted("hello")  # type: ignore[arg-type]
