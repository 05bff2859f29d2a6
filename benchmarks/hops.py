"""What does one hop of a frame through one processor cost, and what does building a frame cost?

A hop is the slope over chains of 1, 10 and 50 pass-through processors, fused and with a task each. Its floor is the
same generators called by hand in a loop. The floor of a frame is a bare msgspec struct with the same fields.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from _kit import Plain, Sink, Waits, audio, best, clock, options, run, show

from bargein.pipeline import LIVE, Audio, Pipeline, Processor, Text

LENGTHS = (1, 10, 50)
ROUNDS = 7


async def chain(kind: type[Processor], length: int, frames: int) -> float:
    """Return seconds for each frame through `length` processors."""
    times = []
    for _ in range(ROUNDS):
        async with Pipeline(*(kind() for _ in range(length)), Sink()).session() as session:
            frame = audio()
            began = clock()
            for _ in range(frames):
                await session.send(frame)
            await session.drained()
            times.append((clock() - began) / frames)
    return best(times)


def by_hand(length: int, frames: int) -> float:
    """Return the floor: the same generators, each called in a loop over the outputs of the one before."""
    steps = [Plain() for _ in range(length)]
    times = []

    def through(at: int, frame: Audio) -> None:
        if at < length:
            for out in steps[at].process(frame):
                through(at + 1, out)

    for _ in range(ROUNDS):
        frame = audio()
        began = clock()
        for _ in range(frames):
            through(0, frame)
        times.append((clock() - began) / frames)
    return best(times)


def slope(times: Sequence[float]) -> float:
    """Return microseconds for each processor, by least squares over the lengths."""
    mean_x = sum(LENGTHS) / len(LENGTHS)
    mean_y = sum(times) / len(times)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(LENGTHS, times, strict=True))
    return 1e6 * above / sum((x - mean_x) ** 2 for x in LENGTHS)


class Bare(msgspec.Struct, frozen=True):
    """The floor of a frame: the fields of `Text`, without its checks."""

    text: str
    final: bool = False
    response_id: str = ""
    item_id: str = ""
    pts: int = 0
    epoch: int = LIVE


def building(build: Callable[[], object], count: int) -> float:
    """Return microseconds to build one frame, the call of `build` included."""
    return 1e6 * best([timeit.timeit(build, number=count) / count for _ in range(ROUNDS)])


def main() -> None:
    arguments = options(__doc__)
    frames = 2_000 if arguments.quick else 20_000

    async def measure() -> dict[str, Any]:
        fused = slope([await chain(Plain, length, frames // length) for length in LENGTHS])
        tasks = slope([await chain(Waits, length, frames // length) for length in LENGTHS])
        floor = slope([by_hand(length, frames // length) for length in LENGTHS])
        samples = np.zeros(320, np.int16)
        return {
            "fused_us": fused,
            "task_us": tasks,
            "floor_us": floor,
            "ratio": fused / floor,
            "text_us": building(lambda: Text("hi"), 10 * frames),
            "audio_us": building(lambda: Audio(samples, 16_000), 10 * frames),
            "bare_us": building(lambda: Bare("hi"), 10 * frames),
        }

    result = run(arguments.backend, measure)
    line = (
        f"a hop: {result['fused_us']:.2f} µs fused ({result['ratio']:.1f} x a bare loop, {result['floor_us']:.2f} µs), "
        f"{result['task_us']:.1f} µs across tasks; building a Text {result['text_us']:.2f} µs, an Audio "
        f"{result['audio_us']:.2f} µs (a bare struct {result['bare_us']:.2f} µs)"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
