"""Bounds count the time in which the event loop ran: a loop that stood still accuses no processor."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Inbox, Outlet, Pipeline, Processor, StuckError, Text
from bargein.pipeline._deadline import catch_up, wait_at_most
from bargein.pipeline.testing import stand_still

pytestmark = pytest.mark.virtual


async def test_a_bound_is_kept_when_the_loop_runs() -> None:
    began = anyio.current_time()
    assert not await wait_at_most(anyio.Event().wait, 3.0)
    assert anyio.current_time() - began == 3.0


async def test_a_standstill_uses_up_one_slice_at_most() -> None:
    """What needs a few more passes of the loop gets them."""
    event = anyio.Event()

    async def work() -> None:
        stand_still(5.0)
        for _ in range(3):
            await anyio.sleep(0.1)
        event.set()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        assert await wait_at_most(event.wait, 1.0)


async def test_an_event_that_is_set_needs_no_wait() -> None:
    event = anyio.Event()
    event.set()
    assert await wait_at_most(event.wait, 1.0)


async def test_a_judge_waits_for_a_loop_that_stood_still() -> None:
    """One slice of the bound, and not at all if the loop came in time."""
    assert not await catch_up(anyio.current_time(), 1.6)
    due = anyio.current_time() + 1.0
    stand_still(3.0)
    assert await catch_up(due, 1.6)
    assert anyio.current_time() == pytest.approx(due + 2.1)


class CleansUp(Processor):
    """Takes `seconds` to clean up, in two steps, after the loop has stood still."""

    name = "cleans up"

    def __init__(self, standstill: float, seconds: float) -> None:
        self.standstill = standstill
        self.seconds = seconds

    async def run(self, inbox: Inbox[Text], out: Outlet[Text]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stand_still(self.standstill)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.seconds / 2)
                await anyio.sleep(self.seconds / 2)


async def test_a_processor_is_not_accused_of_a_standstill() -> None:
    """It cleans up in time, as time for it passes only while the loop runs."""
    processor = CleansUp(standstill=5.0, seconds=0.04)
    for _ in range(2):  # and it may be used again
        async with Pipeline(processor).session(cancel_seconds=1.0) as session:
            await anyio.sleep(0.1)
            await session.cancel()


async def test_a_processor_that_stops_late_may_be_used_again() -> None:
    """It is named as stuck, and released when its task has ended after all."""
    processor = CleansUp(standstill=0.0, seconds=5.0)
    with pytest.raises(StuckError, match="'cleans up' did not stop within 1 s"):
        async with Pipeline(processor).session(cancel_seconds=1.0) as session:
            await anyio.sleep(0.1)
            await session.cancel()
    await anyio.sleep(5.0)
    processor.seconds = 0.1
    async with Pipeline(processor).session() as session:
        await anyio.sleep(0.1)
        await session.cancel()


class CleansUpItsContext(Processor):
    """A context that takes a while to leave, after the loop has stood still."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        stand_still(5.0)
        await anyio.sleep(0.01)
        await anyio.sleep(0.01)

    def process(self, frame: Text) -> None:
        pass


async def test_a_context_is_not_accused_of_a_standstill() -> None:
    """Leaving it may take half of the bound, counted while the loop runs."""
    async with Pipeline(CleansUpItsContext()).session(cancel_seconds=1.0) as session:
        await anyio.sleep(0.1)
        await session.cancel()


async def test_a_context_at_the_end_of_a_graph_is_not_accused_of_a_standstill() -> None:
    """The graph ends by itself, and leaving takes less than `drain_seconds` of a running loop."""
    async with Pipeline(CleansUpItsContext()).session(drain_seconds=1.0) as session:
        await anyio.sleep(0.1)
        session.end()
