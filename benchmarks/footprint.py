"""What does a session cost before it does anything?

This measures memory and tasks of an idle session of ten processors, fused and with a task each; the time to build and
start one; and the time to import the engine. The floors are a task that holds no session (subtracted), ten processors
in a list, and the imports of the engine's dependencies.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
from typing import Any

import anyio
from _kit import Plain, Waits, audio, best, clock, options, run, show

from bargein.pipeline import Pipeline, Processor, Session

PROCESSORS = 10


def build(kind: type[Processor]) -> Session:
    return Pipeline(*(kind() for _ in range(PROCESSORS))).session()


async def memory(kind: type[Processor] | None, count: int) -> tuple[float, int]:
    """Return KiB and tasks of a session that has seen one frame. Without a kind: of a task that holds no session."""
    done = anyio.Event()
    sessions: list[Session] = []

    async def hold() -> None:
        if kind is None:
            await done.wait()
            return
        async with build(kind) as session:
            await session.send(audio())
            sessions.append(session)
            await done.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(hold)  # the first fills caches
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(count):
            group.start_soon(hold)
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        held = (tracemalloc.get_traced_memory()[0] - before) / count / 1024
        tracemalloc.stop()
        tasks = sessions[0].statistics().tasks if sessions else 0
        done.set()
    return held, tasks


async def starting(kind: type[Processor], rounds: int) -> float:
    """Return milliseconds from nothing to a session that takes frames."""
    times = []
    for _ in range(rounds):
        began = clock()
        async with build(kind):
            times.append(clock() - began)
    return 1e3 * best(times)


def importing(modules: str, rounds: int) -> float:
    """Return milliseconds to import modules in a new process, from bytecode. The first time, not counted, compiles."""
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        command = [sys.executable, "-c", code]
        times = [float(subprocess.check_output(command, env=environment)) for _ in range(rounds + 1)]
    return 1e3 * best(times[1:])


def main() -> None:
    arguments = options(__doc__)
    rounds = 3 if arguments.quick else 200
    count = 10 if arguments.quick else 50

    async def measure() -> dict[str, Any]:
        empty, _ = await memory(None, count)
        fused, fused_tasks = await memory(Plain, count)
        waiting, waiting_tasks = await memory(Waits, count)
        began = clock()
        for _ in range(rounds):
            [Plain() for _ in range(PROCESSORS)]
        floor = 1e3 * (clock() - began) / rounds
        return {
            "fused_kib": fused - empty,
            "fused_tasks": fused_tasks,
            "tasks_kib": waiting - empty,
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
        f"import {result['import_ms']:.0f} ms ({result['ratio']:.2f} x its dependencies)"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
