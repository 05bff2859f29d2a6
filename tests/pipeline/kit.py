"""Processors and frames that several test modules use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import numpy as np

from bargein.pipeline import LIVE, Audio, Frame, Graph, Inbox, Interrupt, Outlet, Processor, Text, Transcript, Video
from bargein.pipeline.testing import Harness


def audio(index: int = 0, *, epoch: int = LIVE, rate: int = 16_000) -> Audio:
    """A 20 ms frame whose first sample is its index."""
    samples = np.zeros(rate // 50, np.int16)
    samples[0] = index
    return Audio(samples=samples, rate=rate, pts=index * 20_000_000, epoch=epoch)


def index(frame: Any) -> int:
    return int(frame.samples[0])


class Plain(Processor):
    """Passes audio."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame


class Waits(Processor):
    """Passes audio from a task of its own, after `seconds`."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        if self.seconds:
            await anyio.sleep(self.seconds)
        await out.send(frame)


class Loops(Processor):
    """Passes audio from a loop of its own."""

    async def run(self, inbox: Inbox[Audio], out: Outlet[Audio]) -> None:
        async for frame in inbox:
            await out.send(frame)


class InThread(Processor):
    """Passes audio through a worker thread."""

    blocking = True

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame


class Resets(Processor):
    """Passes audio, and remembers the interrupts."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def process(self, frame: Audio | Interrupt) -> Iterator[Audio]:
        self.seen.append(frame)
        if isinstance(frame, Audio):
            yield frame


class Sink(Processor):
    """Takes audio and keeps it."""

    def __init__(self) -> None:
        self.seen: list[Audio] = []

    def process(self, frame: Audio) -> None:
        self.seen.append(frame)


class Answers(Processor):
    """A brain: answers each transcript with its words, one every `seconds`, in a reply of its own."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds

    async def process(self, frame: Transcript, out: Outlet[Text]) -> None:
        out.respond(self.answer, frame.text)

    async def answer(self, reply: Outlet[Text], text: str) -> None:
        for word in text.split():
            await reply.send(Text(text=word))
            await anyio.sleep(self.seconds)


class BargesIn(Processor):
    """Yields an interrupt for every transcript, and passes it."""

    def process(self, frame: Transcript) -> Iterator[Transcript | Interrupt]:
        yield Interrupt(reason=frame.text)
        yield frame


async def until(true: Callable[[], bool]) -> None:
    """Let the other tasks run until something has come true."""
    for _ in range(10_000):
        if true():
            return
        await anyio.lowlevel.checkpoint()
    raise TimeoutError("it did not come true")


class Tags(Processor):
    """Gives each frame on with something added to its first sample."""

    def __init__(self, add: int) -> None:
        self.add = add

    def process(self, frame: Audio) -> Iterator[Audio]:
        samples = frame.samples.copy()
        samples[0] += self.add
        yield frame.with_samples(samples)


class TagsText(Processor):
    def process(self, frame: Text) -> Iterator[Text]:
        yield Text(text=frame.text.upper())


VIDEO = Video(data=np.zeros((2, 2, 3), np.uint8))


async def sent(graph: Graph | Processor, *frames: Frame) -> list[Frame]:
    async with Harness(graph) as harness:
        await harness.send(*frames)
        return await harness.end()


def numbers(frames: list[Frame]) -> list[int]:
    return [index(frame) for frame in frames if isinstance(frame, Audio)]
