"""Thousands of sessions in one process leave no task, no thread and no growing memory."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable

import anyio
import pytest

from bargein.pipeline import Audio, Pipeline, Transcript
from bargein.pipeline.testing import virtual_asyncio, virtual_trio
from tests.environment import amount

from .kit import Answers, BargesIn, InThread, Loops, Plain, Sink, Waits, audio, until

MANY = amount(1_300, 9_300)


def graphs() -> list[Callable[[], Pipeline]]:
    return [
        lambda: Pipeline(Plain(), Plain(), Sink()),
        lambda: Pipeline(Plain(), Waits(), Loops(), Sink()),
        lambda: Pipeline(BargesIn(), Answers(0.01), Plain(), inputs=Audio),
    ]


async def one(make: Callable[[], Pipeline], at: int) -> None:
    async with make().session() as session:
        await session.send(audio())
        await session.send(Transcript(text="a b"))
        if at % 3 == 0:
            session.interrupt()
        if at % 5 == 0:
            await session.cancel()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", [virtual_trio, virtual_asyncio])
def test_thousands_of_sessions(backend: Callable[[], tuple[str, dict[str, object]]]) -> None:
    """Opened, used, and ended or cancelled, one after the other: not one in three leaves an object behind."""

    async def sessions(count: int) -> int:
        for at in range(count):
            await one(graphs()[at % 3], at)
        gc.collect()
        return len(gc.get_objects())

    async def soak() -> tuple[int, int]:
        before = await sessions(300)  # caches fill
        objects = await sessions(MANY) - before
        tracemalloc.start(1)
        await sessions(400)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return objects, held

    name, options = backend()
    objects, held = anyio.run(soak, backend=name, backend_options=options)
    assert objects < 400, f"{objects} objects more after {MANY} sessions"
    # A session takes some 40 KB while it runs. Trio keeps deadlines that were called off for a while: those are here.
    assert held < 250_000, f"{held} bytes held by 400 sessions that have ended"


async def test_a_hundred_at_once_leave_no_thread() -> None:
    """Side by side, with worker threads."""
    async with anyio.create_task_group() as group:
        for at in range(100):
            group.start_soon(one, lambda: Pipeline(Plain(), InThread(), Waits(), Sink()), at)
    await until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("bargein")])
