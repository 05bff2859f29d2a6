"""The conformance suite passes what is right, and finds each thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import msgspec
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    End,
    Frame,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    Text,
    Transcript,
    Usage,
)
from bargein.pipeline.testing import check_processor
from tests.pipeline.kit import InThread, Loops, Plain, Resets, Waits

pytestmark = pytest.mark.virtual


class Rechunks(Processor):
    """Holds back up to 7 ms, gives frames of 7 ms, the rest at the end; forgets at an interrupt."""

    def __init__(self) -> None:
        self.kept = np.zeros(0, np.int16)
        self.epoch = 0

    def process(self, frame: Audio | Interrupt | End) -> Iterator[Audio]:
        if isinstance(frame, Audio):
            self.kept = np.concatenate([self.kept, frame.samples])
            self.epoch = frame.epoch
            while len(self.kept) >= 112:
                piece, self.kept = self.kept[:112], self.kept[112:]
                yield Audio(samples=piece, rate=frame.rate)
        elif isinstance(frame, End):
            if len(self.kept):
                yield Audio(samples=self.kept, rate=16_000, epoch=self.epoch)
        else:
            self.kept = self.kept[:0]


class Speaks(Processor):
    async def process(self, frame: Transcript, out: Outlet[Text]) -> None:
        out.respond(self.answer, frame.text)

    async def answer(self, reply: Outlet[Text], text: str) -> None:
        for word in text.split():
            await reply.send(Text(text=word))
            await anyio.sleep(0.1)


@pytest.mark.parametrize("make", [Plain, Waits, Loops, Resets, InThread, Rechunks])
async def test_correct_processors_pass(make: Callable[[], Processor]) -> None:
    """A correct processor of every kind passes."""
    await check_processor(make)


async def test_other_frames_than_audio() -> None:
    """The author gives a representative input."""
    await check_processor(Speaks, [Transcript(text="a b c", final=True)], resets=False)
    with pytest.raises(AssertionError, match="Speaks> takes Transcript, and none of the input: Text"):
        await check_processor(Speaks, [Text("a")])


class Poem(Frame, frozen=True):
    title: str
    lines: int


class Wraps(Processor):
    def process(self, frame: Text) -> Iterator[Text]:
        yield Text(frame.text.upper())


class Reads(Processor):
    def process(self, frame: Poem | Transcript | Usage | Played) -> Iterator[Text]:
        if isinstance(frame, Poem):
            yield Text(frame.title * frame.lines)
        elif isinstance(frame, Transcript):
            yield Text(frame.text)


@pytest.mark.parametrize("make", [Wraps, Reads])
async def test_the_input_is_what_the_contract_takes(make: Callable[[], Processor]) -> None:
    """Without frames of the author, a processor gets some of each class that it takes, its own classes included."""
    await check_processor(make, resets=False)


async def test_class_without_a_sample_needs_one() -> None:
    """The error says what the processor takes, and how to pass a sample."""

    class Odd(Frame, frozen=True):
        shape: tuple[int, int]

    class TakesOdd(Processor):
        def process(self, frame: Odd) -> Iterator[Odd]:
            yield frame

    with pytest.raises(AssertionError, match=r"takes Odd, and none of the input: nothing; pass frames that it takes"):
        await check_processor(TakesOdd)
    await check_processor(TakesOdd, [Odd((1, 2))])


class Writes(Processor):
    def process(self, frame: Audio) -> Iterator[Audio]:
        frame.samples[:] //= 2
        yield frame


class Shares(Processor):
    count = 0

    def process(self, frame: Audio) -> Iterator[Audio]:
        Shares.count += 1
        yield msgspec.structs.replace(frame, pts=Shares.count)


class PerFrame(Processor):
    """Starts a ramp at every frame, so its sound depends on how it is cut."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame.with_samples((frame.samples * np.linspace(0, 1, len(frame.samples))).astype(np.int16))


class Remembers(Rechunks):
    """Does not forget at an interrupt."""

    def process(self, frame: Audio | Interrupt | End) -> Iterator[Audio]:
        if not isinstance(frame, Interrupt):
            yield from super().process(frame)


class KeepsOne(Processor):
    """Gives each frame one later, with the epoch it had."""

    kept: Audio | None = None

    def process(self, frame: Audio | End) -> Iterator[Audio]:
        if self.kept is not None:
            yield self.kept
        self.kept = frame if isinstance(frame, Audio) else None


class Holds(Processor):
    """A loop that cannot be cancelled for a long while."""

    async def run(self, inbox: Inbox[Audio], out: Outlet[Audio]) -> None:
        async for frame in inbox:
            await out.send(frame)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(60)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Writes, "it writes into its input|it sends other frames"),
        (Shares, "it sends other frames"),
        (PerFrame, "in frames of 10 ms .* and not the same ones"),
        (Remembers, "take Interrupt and reset there"),
        (KeepsOne, "which it has kept from before"),
        (Holds, "it did not stop"),
    ],
)
async def test_each_breach_is_found(make: Callable[[], Processor], message: str) -> None:
    """Each breach has its own sentence."""
    with pytest.raises(AssertionError, match=message):
        await check_processor(make)


async def test_checks_can_be_left_out() -> None:
    """For work on whole frames, and for state about what never expires."""
    await check_processor(PerFrame, rechunk=False)


async def test_make_must_make() -> None:
    """The same object twice is no use."""
    same = Plain()
    with pytest.raises(AssertionError, match="a new processor each time"):
        await check_processor(lambda: same)


async def test_writing_zeros_is_found_too() -> None:
    """Also when the first run has done all the damage there is."""

    class Mutes(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            frame.samples[:] = 0
            yield frame

    with pytest.raises(AssertionError, match="it writes into its input"):
        await check_processor(Mutes)
