"""A conformance suite for processors: it checks on your processor what the engine promises about every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import numpy as np

from bargein.pipeline._contract import ProcessorKind, names
from bargein.pipeline._samples import SECOND
from bargein.pipeline.errors import StuckError
from bargein.pipeline.frames import LIVE, Audio, Delivery, End, Frame, Interrupt
from bargein.pipeline.graph import Pipeline
from bargein.pipeline.processor import Processor

from ._sample_input import sample_input
from .harness import Harness
from .signals import framed, joined

__all__ = ["check_processor"]

CHUNKS_MS = (10.0, 20.0, 7.3, 60.0)
"""Lengths of the frames into which the chunking check cuts the same sound. 20 ms is the reference."""


async def check_processor(
    make: Callable[[], Processor],
    frames: Sequence[Frame] | None = None,
    *,
    rate: int = 16_000,
    rechunk: bool = True,
    resets: bool = True,
) -> None:
    """Run the conformance suite on a processor.

    It checks that the processor sends the same frames fused and unfused; that any chunking of the sound results in the
    same sound; that it does not write to its input; that two of them at once do not influence each other; that after an
    interrupt it is like new and emits nothing of an older epoch; that it drains at the end; and that it stops when it
    is cancelled, at any moment.

    Args:
        make: Makes a new processor at each call.
        frames: A representative input. Default: half a second of speech-like sound in 20 ms frames for a processor that
            takes `Audio`, and otherwise a few frames of each class that it takes.
        rate: Samples a second (Hz) of the default sound. Default 16,000.
        rechunk: Whether to compare chunkings of the sound. Pass False for processors that work on each frame as a unit.
        resets: Whether to compare the frames after an interrupt with those of a new processor. Pass False for
            processors that keep state about what never expires, such as a voice-activity detector on the user's sound.

    Raises:
        AssertionError: The processor fails a check. The message says which.
    """
    first = make()
    contract = first.contract
    assert make() is not first, "make() must make a new processor each time"
    sample = list(frames) if frames is not None else sample_input(contract, rate)
    taken = [frame for frame in sample if contract.accepts(type(frame))]
    assert taken or contract.source, (
        f"{first!r} takes {names(contract.takes)}, and none of the input: "
        f"{', '.join(sorted({type(frame).__name__ for frame in sample})) or 'nothing'}; "
        "pass frames that it takes: check_processor(make, frames)"
    )
    await _check_untouched(make, sample)
    expected = await _through(make, sample)
    assert await _through(make, sample, fused=False) == expected, "it sends other frames when it is not fused"
    assert await _through(make, sample) == expected, "it sends other frames the second time: it keeps global state"
    await _check_isolated(make, sample, expected)
    if rechunk and contract.accepts(Audio):
        await _check_chunks(make, sample)
    await _check_epochs(make, sample)
    if resets:
        await _check_reset(make, sample)
    if contract.kind is ProcessorKind.SYNC:
        _check_alone(make(), taken, epochs=(0, 1) if resets else (LIVE, LIVE))
    await _check_cancellation(make, sample)


def _stamped(frames: Sequence[Frame], epoch: int) -> list[Frame]:
    return [frame.stamped(epoch) if frame.delivery is Delivery.STREAM else frame for frame in frames]


async def _through(make: Callable[[], Processor], frames: Sequence[Frame], **options: Any) -> list[Frame]:
    async with Harness(make(), **options) as harness:
        await harness.send(*frames)
        return _by_end(await harness.end())


def _by_end(frames: list[Frame]) -> list[Frame]:
    """Return what came out below, then what came out above: between the two ends there is no order to compare."""
    return sorted(frames, key=lambda frame: frame.delivery is Delivery.UPSTREAM)


async def _check_isolated(make: Callable[[], Processor], frames: Sequence[Frame], expected: list[Frame]) -> None:
    async with Harness(make()) as one, Harness(make()) as other:
        for frame in frames:
            await one.send(frame)
            await other.send(frame)
        for harness in (one, other):
            assert _by_end(await harness.end()) == expected, "a second one beside it changes what it sends"


async def _check_untouched(make: Callable[[], Processor], frames: Sequence[Frame]) -> None:
    before = [frame.samples.copy() for frame in frames if isinstance(frame, Audio)]
    await _through(make, frames)
    after = [frame.samples for frame in frames if isinstance(frame, Audio)]
    for was, now in zip(before, after, strict=True):
        assert np.array_equal(was, now), "it writes into its input; frames are shared, so make a new array"


async def _check_chunks(make: Callable[[], Processor], frames: Sequence[Frame]) -> None:
    audio = [frame for frame in frames if isinstance(frame, Audio)]
    if not audio:
        return
    samples, rate = joined(audio), audio[0].rate
    reference = joined(await _through(make, list(framed(samples, rate=rate, ms=20.0))))
    for ms in CHUNKS_MS:
        got = joined(await _through(make, list(framed(samples, rate=rate, ms=ms))))
        assert np.array_equal(got, reference), (
            f"in frames of {ms:g} ms it yields {len(got)} samples, in frames of 20 ms {len(reference)}"
            + ("" if len(got) != len(reference) else ", and not the same ones")
        )


async def _check_epochs(make: Callable[[], Processor], frames: Sequence[Frame]) -> None:
    async with Harness(make()) as harness:
        await harness.send(*_stamped(frames, 0)[: max(1, len(frames) // 2)])
        epoch = harness.interrupt()
        came = len(harness.timeline)
        await harness.send(*_stamped(frames, epoch))
        for frame in (await harness.end())[came:]:
            assert frame.epoch >= epoch, f"after the interrupt of epoch {epoch} it gave {frame!r}"


async def _check_reset(make: Callable[[], Processor], frames: Sequence[Frame]) -> None:
    """Check that after an interrupt in a reply, the next reply comes out as from a new processor."""
    async with Harness(make()) as fresh:
        fresh.interrupt()
        await fresh.settle()
        began = len(fresh.timeline)
        await fresh.send(*_stamped(frames, 1))
        expected = (await fresh.end())[began:]
    for cut in sorted({1, len(frames) // 2, max(1, len(frames) - 1)}):
        async with Harness(make()) as used:
            await used.send(*_stamped(frames[:cut], 0))
            await used.settle()
            used.interrupt()
            await used.settle()
            began = len(used.timeline)
            await used.send(*_stamped(frames, 1))
            got = (await used.end())[began:]
        assert got == expected, (
            f"interrupted after {cut} frames, it yields {len(got)} frames of the next reply where a new one yields "
            f"{len(expected)}, or other ones: take Interrupt and reset there what belongs to a reply"
        )


def _check_alone(processor: Processor, frames: Sequence[Frame], epochs: tuple[int, int]) -> None:
    """Check that a sync processor works without an engine, and holds nothing back across an interrupt."""
    before, after = epochs
    process: Any = processor.process  # type: ignore[attr-defined]
    for frame in _stamped(frames, before):
        list(process(frame) or ())
    if processor.contract.accepts(Interrupt):
        list(process(Interrupt(epoch=1)) or ())
    late: list[Frame] = []
    for frame in _stamped(frames, after):
        late += process(frame) or ()
    if processor.contract.accepts(End):
        late += process(End()) or ()
    for frame in late:
        assert frame.epoch in (LIVE, 1), f"after Interrupt(epoch=1) it yielded {frame!r}, which it has kept from before"


async def _check_cancellation(make: Callable[[], Processor], frames: Sequence[Frame]) -> None:
    """Check that it stops when it is cancelled before its first frame, in the middle, and at work."""
    for cut in (0, len(frames) // 2, len(frames)):
        pipeline = Pipeline(make(), inputs=Frame)
        async with pipeline.session(cancel_seconds=5.0) as session:
            for frame in frames[:cut]:
                session.offer(frame)
            with anyio.move_on_after(frames[-1].pts / SECOND / 2 if frames else 0):
                await anyio.sleep_forever()
            try:
                await session.cancel()
            except StuckError as error:
                raise AssertionError(f"cancelled after {cut} frames, it did not stop: {error}") from error
