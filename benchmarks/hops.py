"""What does one hop of a frame through one processor cost?

The slope over chains of 1, 10 and 50 pass-through processors, fused and with a task each; the floor is the same
generators called by hand in a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _kit import Plain, Sink, Waits, audio, best, clock, options, run, show

from bargein.pipeline import Audio, Pipeline, Processor

LENGTHS = (1, 10, 50)
ROUNDS = 7


async def chain(kind: type[Processor], length: int, frames: int) -> float:
    """Seconds a frame through `length` processors."""
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
    """The floor: the same generators, each called in a loop over what the one before gave."""
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
    """Microseconds a processor, by least squares over the lengths."""
    mean_x = sum(LENGTHS) / len(LENGTHS)
    mean_y = sum(times) / len(times)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(LENGTHS, times, strict=True))
    return 1e6 * above / sum((x - mean_x) ** 2 for x in LENGTHS)


def main() -> None:
    arguments = options(__doc__)
    frames = 2_000 if arguments.quick else 20_000

    async def measure() -> dict[str, Any]:
        fused = slope([await chain(Plain, length, frames // length) for length in LENGTHS])
        tasks = slope([await chain(Waits, length, frames // length) for length in LENGTHS])
        floor = slope([by_hand(length, frames // length) for length in LENGTHS])
        return {"fused_us": fused, "task_us": tasks, "floor_us": floor, "ratio": fused / floor}

    result = run(arguments.backend, measure)
    line = (
        f"a hop: {result['fused_us']:.2f} µs fused ({result['ratio']:.1f} x a bare loop, {result['floor_us']:.2f} µs), "
        f"{result['task_us']:.1f} µs across tasks"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
