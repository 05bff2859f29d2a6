"""How many concurrent sessions does one core carry?

Each session gets 50 frames a second in at one end and another 50 a second at a source inside, through ten processors
of which two have a task of their own; the highest number is sought at which the added latency's 99th percentile stays
below 10 ms. The floor is the same tasks and timers that hand each frame over by a bare function call.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import msgspec
from _kit import Plain, Waits, audio, clock, options, run, show
from bargein.pipeline import Audio, Pipeline, Processor

BOUND = 0.010
FRAME = 0.020


class Notes(Processor):
    """The end of a session: how late each frame came, by the time it carries."""

    def __init__(self, late: list[float]) -> None:
        self.late = late

    def process(self, frame: Audio) -> None:
        self.late.append(clock() - frame.pts / 1e9)


class Turns(Processor):
    """Stands in the middle, where a brain would: each frame in gives a frame out."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame.with_samples(frame.samples)


def pipeline(late: list[float]) -> Pipeline:
    """Four steps in, a brain's place, four steps out, the end; a task at the brain and one at the way out."""
    return Pipeline(Plain(), Plain(), Plain(), Waits(), Turns(), Plain(), Plain(), Plain(), Waits(), Notes(late))


async def feed(deliver: Callable[[Audio], None], start: float, seconds: float) -> None:
    """Fifty frames a second, each stamped with the moment at which it was due."""
    base = audio()
    offset = clock() - anyio.current_time()
    at = start
    while at < start + seconds:
        await anyio.sleep_until(at)
        deliver(msgspec.structs.replace(base, pts=int((at + offset) * 1e9)))
        at += FRAME


async def one(start: float, seconds: float, late: list[float], *, engine: bool) -> None:
    if engine:
        async with pipeline(late).session() as session:
            await feed(session.offer, start, seconds)
    else:
        notes = Notes(late)
        await feed(notes.process, start, seconds)


async def load(count: int, seconds: float, *, engine: bool) -> float:
    """The 99th percentile of the added latency, in seconds, with `count` sessions at once."""
    late: list[float] = []
    start = anyio.current_time() + 0.2 + count * 0.002
    gc.collect()
    gc.freeze()
    async with anyio.create_task_group() as group:
        for at in range(count):
            # Spread over a frame's length, as callers do not speak in step.
            group.start_soon(lambda at=at: one(start + FRAME * at / count, seconds, late, engine=engine))
    gc.unfreeze()
    late.sort()
    return late[int(len(late) * 0.99)] if late else 0.0


async def highest(seconds: float, *, engine: bool, limit: int) -> tuple[int, float]:
    """The highest number within the bound, by doubling and halving, and the percentile there."""
    good, good_p99, bad = 0, 0.0, 0
    count = 50
    while count <= limit and (not bad or bad - good > max(10, good // 20)):
        p99 = await load(count, seconds, engine=engine)
        if p99 < BOUND:
            good, good_p99 = count, p99
        else:
            bad = count
        count = (good + bad) // 2 if bad else count * 2
    return good, good_p99


def main() -> None:
    arguments = options(__doc__)
    seconds = 0.5 if arguments.quick else 4.0
    limit = 100 if arguments.quick else 6400

    async def measure() -> dict[str, Any]:
        engine, p99 = await highest(seconds, engine=True, limit=limit)
        floor, _ = await highest(seconds, engine=False, limit=limit)
        return {"sessions": engine, "p99_ms": 1e3 * p99, "floor_sessions": floor, "ratio": floor / max(engine, 1)}

    result = run(arguments.backend, measure)
    line = (
        f"concurrent sessions on one core: {result['sessions']} (p99 {result['p99_ms']:.1f} ms added); "
        f"bare timers and calls: {result['floor_sessions']}, {result['ratio']:.1f} x as many"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
