"""Virtual time: long waits take a moment, twice the same, and threads hold the clock."""

from __future__ import annotations

import asyncio
import threading

import anyio
import anyio.to_thread
import pytest

from bargein.pipeline.testing import VirtualLoop, hold_clock, run_virtual

pytestmark = pytest.mark.virtual


async def test_an_hour_takes_a_moment() -> None:
    """The clock jumps to the next deadline when nothing else can happen; in real time this would time out."""
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 3600)
        for _ in range(100):
            await anyio.sleep(1)
    assert anyio.current_time() - began == pytest.approx(3600)


async def test_a_thread_holds_the_clock() -> None:
    """While a guarded thread works, no timeout fires, however near."""
    release = threading.Event()

    async def free() -> None:
        await anyio.lowlevel.checkpoint()
        release.set()

    with anyio.fail_after(0.001):
        async with anyio.create_task_group() as group:
            group.start_soon(free)
            with hold_clock(), hold_clock():
                assert await anyio.to_thread.run_sync(release.wait, 10)
    before = anyio.current_time()
    await anyio.sleep(1000)
    assert anyio.current_time() - before == pytest.approx(1000)


def test_run_virtual_starts_at_zero() -> None:
    """The clock starts at 0, and `run_virtual` returns what the function returns."""

    async def nap(seconds: float) -> float:
        await anyio.sleep(seconds)
        return anyio.current_time()

    assert run_virtual(nap, 12.5) == pytest.approx(12.5)


def test_the_loop_waits_for_the_real_world_when_nothing_is_due() -> None:
    """A result from a thread arrives although no timer is set."""

    async def work() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: "done")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(work()) == "done"


async def hold_on_a_real_clock() -> None:
    with hold_clock():
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_on_a_real_clock_holding_does_nothing(backend: str) -> None:
    """Code that guards its threads therefore runs on every clock."""
    anyio.run(hold_on_a_real_clock, backend=backend)
