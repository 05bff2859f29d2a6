"""How many concurrent sessions does one core carry?

Each session receives 50 frames a second at one end and sends 50 at the other, through ten processors, either all fused
or two of them in their own tasks. The result is the highest number of sessions at which the 99th percentile of the
added latency stays below 10 ms. The floor is the same tasks and timers that hand each frame over by a bare function
call.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import msgspec
from _kit import Plain, Waits, audio, clock, options, run, show

from bargein.pipeline import Audio, Pipeline, Processor

BOUND = 0.010
"""Highest 99th percentile of the added latency, in seconds."""
FRAME = 0.020
"""Length of a frame, in seconds."""


class Notes(Processor):
    """The end of a session. Records how late each frame came, by the time that it carries."""

    def __init__(self, late: list[float]) -> None:
        self.late = late

    def process(self, frame: Audio) -> None:
        self.late.append(clock() - frame.pts / 1e9)


class Turns(Processor):
    """Stands in the place of a brain: each frame in gives a frame out."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame.with_samples(frame.samples)


Graph = Callable[[list[float]], Pipeline]


def fused(late: list[float]) -> Pipeline:
    """Return four steps in, the brain's place, four steps out and the end: ten processors in their source's task."""
    return Pipeline(*(Plain() for _ in range(4)), Turns(), *(Plain() for _ in range(4)), Notes(late))


def tasks(late: list[float]) -> Pipeline:
    """Return the same with a task before the brain and one at the end."""
    return Pipeline(*(Plain() for _ in range(3)), Waits(), Turns(), *(Plain() for _ in range(3)), Waits(), Notes(late))


class Start:
    """A common start: all sessions begin when the last one has been built, so that building is not measured."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.go = anyio.Event()
        self.at = 0.0

    async def ready(self) -> float:
        self.left -= 1
        if not self.left:
            gc.collect()
            gc.freeze()
            self.at = anyio.current_time() + 0.1
            self.go.set()
        await self.go.wait()
        return self.at


async def feed(deliver: Callable[[Audio], None], start: float, seconds: float) -> None:
    """Deliver fifty frames a second, each stamped with the moment at which it was due."""
    base = audio()
    offset = clock() - anyio.current_time()
    at = start
    while at < start + seconds:
        await anyio.sleep_until(at)
        deliver(msgspec.structs.replace(base, pts=int((at + offset) * 1e9)))
        at += FRAME


async def one(start: Start, shift: float, seconds: float, late: list[float], graph: Graph | None) -> None:
    if graph is not None:
        async with graph(late).session() as session:
            await feed(session.offer, await start.ready() + shift, seconds)
    else:
        await feed(Notes(late).process, await start.ready() + shift, seconds)


async def load(count: int, seconds: float, graph: Graph | None) -> float:
    """Return the 99th percentile of the added latency, in seconds, with `count` sessions at once."""
    late: list[float] = []
    start = Start(count)
    async with anyio.create_task_group() as group:
        for at in range(count):
            # Spread over a frame's length, because callers do not speak in step.
            group.start_soon(partial(one, start, FRAME * at / count, seconds, late, graph))
    gc.unfreeze()
    late.sort()
    return late[int(len(late) * 0.99)]


async def highest(seconds: float, graph: Graph | None, limit: int) -> int:
    """Return the highest number within the bound, by doubling and halving.

    Of two runs the better counts, because the other may have suffered from other programs on the machine.
    """
    good, bad, count = 0, 0, 50
    while count <= limit and (not bad or bad - good > max(10, good // 20)):
        if min([await load(count, seconds, graph) for _ in range(2)]) < BOUND:
            good = count
        else:
            bad = count
        count = (good + bad) // 2 if bad else count * 2
    return good


def main() -> None:
    arguments = options(__doc__)
    seconds, limit = (0.5, 50) if arguments.quick else (3.0, 6400)

    async def measure() -> dict[str, Any]:
        result: dict[str, Any] = {
            "fused_sessions": await highest(seconds, fused, limit),
            "task_sessions": await highest(seconds, tasks, limit),
            "floor_sessions": await highest(seconds, None, limit),
        }
        result["ratio"] = result["floor_sessions"] / max(result["fused_sessions"], 1)
        return result

    result = run(arguments.backend, measure)
    line = (
        f"concurrent sessions on one core, p99 below {BOUND * 1000:g} ms: {result['fused_sessions']} fused, "
        f"{result['task_sessions']} with two processors in their own tasks; "
        f"bare timers and calls {result['floor_sessions']} ({result['ratio']:.1f} x as many)"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
