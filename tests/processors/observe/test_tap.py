"""Tap: calls a function with some classes of frames, and passes all on."""

from __future__ import annotations

import pytest

from bargein.pipeline import Audio, Interrupt, Text
from bargein.pipeline.testing import Harness, check_processor, framed, tone
from bargein.processors import Tap


async def test_tap_sees_and_passes() -> None:
    """Only the given classes; all data if there are none."""
    seen: list[object] = []
    (frame,) = framed(tone(ms=20))
    async with Harness(Tap(seen.append, Text), Tap(seen.append)) as harness:
        await harness.send(frame, Text(text="a"))
        harness.interrupt()
        await harness.end()
    assert [type(each) for each in seen] == [Audio, Text, Text]
    assert [type(each) for each in harness.frames] == [Audio, Text, Interrupt]


async def test_exception_names_the_tap() -> None:
    """A function that fails is the processor's failure."""
    (frame,) = framed(tone(ms=20))
    with pytest.raises(ZeroDivisionError) as caught:
        async with Harness(Tap(lambda _: 1 / 0).options(name="curious")) as harness:
            await harness.send(frame)
    assert "in processor 'curious' on Audio" in caught.value.__notes__


@pytest.mark.virtual
async def test_it_conforms() -> None:
    """The conformance suite passes."""
    await check_processor(lambda: Tap(lambda frame: None, Audio))
