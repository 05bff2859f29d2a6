"""Stages: compiled steps hold their processor to its contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Never

import anyio
import anyio.to_thread
import pytest

from bargein.pipeline import Audio, ContractError, Outlet, Pipeline, Processor, Text

from .kit import audio


def test_undeclared_output_is_an_error() -> None:
    """An undeclared class, or an object that is not a frame, is a clear error for every kind of processor."""

    class Lies(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            yield Text(text="surprise")  # type: ignore[misc]

    class LiesLater(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            await out.send(Text(text="surprise"))  # type: ignore[arg-type]

    class Numbers(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            yield 3  # type: ignore[misc]

    class NumbersLater(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            await out.send(3)  # type: ignore[arg-type]

    class NumbersInThread(Numbers):
        blocking = True

    async def feed(processor: Processor, frame: Audio) -> None:
        async with Pipeline(processor).session() as session:
            await session.send(frame)

    for kind in (Lies, LiesLater):
        with pytest.raises(ContractError, match="emitted Text, but its annotations declare Audio"):
            anyio.run(feed, kind(), audio())
    for number in (Numbers, NumbersLater, NumbersInThread):
        for frame in (audio(), audio(epoch=0)):
            with pytest.raises(ContractError, match=r"emitted (a int|an object of type int), which is not a Frame"):
                anyio.run(feed, number(), frame)


async def test_sinks_may_return_what_they_like() -> None:
    """What a sink returns is ignored, in every sweep; one that is a generator runs to its end."""
    seen: list[int] = []

    class Returns(Processor):
        def process(self, frame: Audio) -> None:
            return seen.append(1) or 5  # type: ignore[return-value, func-returns-value]

    class Generates(Processor):
        def process(self, frame: Audio) -> Iterator[Never]:
            seen.append(2)
            yield from ()

    for kind in (Returns, Generates):
        seen.clear()
        async with Pipeline(kind()).session() as session:
            for _ in range(600):
                await session.send(audio())
        assert len(seen) == 600
