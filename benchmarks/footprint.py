"""What does a session cost before it does anything?

KiB and tasks of an idle session of ten processors, fused and with a task each; the time to build and start one; the
time to import the engine. The floors: ten generators in a list, and the imports of what it stands on.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from typing import Any

import anyio
from _kit import Plain, Waits, audio, best, clock, options, run, show
from bargein.pipeline import Pipeline, Processor, Session

PROCESSORS = 10


def build(kind: type[Processor]) -> Session:
    return Pipeline(*(kind() for _ in range(PROCESSORS))).session()


async def memory(kind: type[Processor], count: int) -> tuple[float, int]:
    """KiB a session that has seen one frame, and its tasks."""
    sessions = []
    async with build(kind) as warm:
        await warm.send(audio())
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(count):
        session = build(kind)
        await session.__aenter__()
        await session.send(audio())
        await anyio.wait_all_tasks_blocked()
        sessions.append(session)
    gc.collect()
    held = (tracemalloc.get_traced_memory()[0] - before) / count / 1024
    tracemalloc.stop()
    tasks = sessions[0].statistics().tasks
    for session in reversed(sessions):
        await session.__aexit__(None, None, None)
    return held, tasks


async def starting(kind: type[Processor], rounds: int) -> float:
    """Milliseconds from nothing to a session that takes frames."""
    times = []
    for _ in range(rounds):
        began = clock()
        async with build(kind):
            times.append(clock() - began)
    return 1e3 * best(times)


def importing(modules: str, rounds: int) -> float:
    """Milliseconds to import, in a process of its own."""
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(rounds)]
    return 1e3 * best(times)


def main() -> None:
    arguments = options(__doc__)
    rounds = 3 if arguments.quick else 200
    count = 10 if arguments.quick else 50

    async def measure() -> dict[str, Any]:
        # Sessions side by side need a task each to be left in: measured one by one, ended in reverse.
        fused, fused_tasks = await memory(Plain, count)
        waiting, waiting_tasks = await memory(Waits, count)
        began = clock()
        for _ in range(rounds):
            [Plain() for _ in range(PROCESSORS)]
        floor = 1e3 * (clock() - began) / rounds
        return {
            "fused_kib": fused,
            "fused_tasks": fused_tasks,
            "tasks_kib": waiting,
            "tasks_tasks": waiting_tasks,
            "fused_start_ms": await starting(Plain, rounds),
            "tasks_start_ms": await starting(Waits, rounds),
            "floor_start_ms": floor,
        }

    result = run(arguments.backend, measure)
    imports = 3 if arguments.quick else 10
    result["import_ms"] = importing("bargein.pipeline", imports)
    result["import_floor_ms"] = importing("anyio, msgspec, numpy", imports)
    result["ratio"] = result["import_ms"] / result["import_floor_ms"]
    line = (
        f"an idle session of {PROCESSORS} processors: {result['fused_kib']:.0f} KiB and {result['fused_tasks']} tasks "
        f"fused, {result['tasks_kib']:.0f} KiB and {result['tasks_tasks']} tasks with a task each; "
        f"build and start {result['fused_start_ms']:.2f} and {result['tasks_start_ms']:.2f} ms; "
        f"import {result['import_ms']:.0f} ms ({result['ratio']:.2f} x what it stands on)"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
