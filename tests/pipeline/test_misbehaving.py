"""Processors that misbehave on purpose: sessions still end within their bound, and name the culprit."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from bargein.pipeline import (
    LIVE,
    Audio,
    ContractError,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Processor,
    StuckError,
    Text,
    Transcript,
)
from bargein.pipeline.testing import Harness

from .kit import InThread, Plain, Resets, Sink, Waits, audio, index, until


class SwallowsOnce(Processor):
    """Cleans up in a hurry that takes two awaits."""

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()


class Swallows(Processor):
    """Never lets itself be cancelled, nor closed."""

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        while True:
            try:
                await anyio.sleep(1000)
            except GeneratorExit:
                raise
            except BaseException:
                pass


class SwallowsInLoop(Processor):
    async def run(self, inbox: Inbox[Audio], out: Outlet[Audio]) -> None:
        while True:
            try:
                async for _ in inbox:
                    pass
                await anyio.sleep(1000)
            except GeneratorExit:
                raise
            except BaseException:
                pass


class Shields(Processor):
    """Waits in a call that cannot be cancelled."""

    def __init__(self, free: anyio.Event) -> None:
        self.free = free

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        with anyio.CancelScope(shield=True):
            await self.free.wait()


class StuckInThread(Processor):
    """Blocks its thread until it is let go."""

    blocking = True

    def __init__(self) -> None:
        self.free = threading.Event()

    def process(self, frame: Audio) -> Iterator[Audio]:
        self.free.wait(20)
        yield frame


async def test_cleaning_up_is_waited_for() -> None:
    """A processor may await while it is being cancelled."""
    async with Pipeline(SwallowsOnce()).session() as session:
        await session.send(audio())
        await anyio.wait_all_tasks_blocked()
        await session.cancel()


@pytest.mark.parametrize("kind", [Swallows, SwallowsInLoop])
async def test_swallowing_cancellation_is_named(kind: type[Processor]) -> None:
    """A processor that never stops is abandoned and named, and leaves nothing running."""
    async with Pipeline(Plain(), kind().options(name="culprit")).session(cancel_seconds=5) as session:
        await session.send(audio())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StuckError, match="'culprit' did not stop within 5 s") as caught:
            await session.cancel()
    assert caught.value.processors == ("culprit",)
    assert session.statistics().tasks == 0


async def test_an_uncancellable_call_does_not_hold_the_session() -> None:
    """A shielded wait is named and left behind; when it ends, nothing of the session is left."""
    free = anyio.Event()
    async with Pipeline(Shields(free)).session(cancel_seconds=0.01) as session:
        await session.send(audio())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StuckError, match="'Shields' did not stop"):
            await session.cancel()
    free.set()
    await until(lambda: session.statistics().tasks == 0)


@pytest.mark.real
async def test_a_stuck_thread_does_not_hold_the_session() -> None:
    """A blocking call that does not return is named; its thread ends when the call does."""
    stuck = StuckInThread()
    async with Pipeline(stuck).session(cancel_seconds=0.05) as session:
        await session.send(audio())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StuckError, match="'StuckInThread' did not stop"):
            await session.cancel()
    stuck.free.set()


async def test_the_users_error_wins_over_a_stuck_processor() -> None:
    """An exception of the block passes, with a note about the processor that would not stop."""
    with pytest.raises(KeyError) as caught:
        async with Pipeline(Swallows()).session() as session:
            await session.send(audio())
            await anyio.wait_all_tasks_blocked()
            raise KeyError("mine")
    assert any("'Swallows' did not stop" in note for note in caught.value.__notes__)


@pytest.mark.virtual
async def test_an_interrupt_lets_go_of_what_swallows_it() -> None:
    """Work on a stale frame that ignores its cancellation fails its processor; by policy the session continues."""
    async with Harness(Swallows().options(on_error="drop", name="culprit")) as harness:
        await harness.send(audio(0, epoch=0))
        await harness.settle()
        harness.interrupt()
        await anyio.sleep(1)
        assert harness.statistics().processors["culprit"].error_dropped == 1
        assert harness.statistics().processors["culprit"].waiting == 0


@pytest.mark.virtual
async def test_swallowed_cancellation_delays_no_other() -> None:
    """The other processors have the interrupt in the same instant."""
    last = Resets()
    async with Harness(Waits(), Swallows().options(on_error="drop"), last) as harness:
        await harness.send(audio(0, epoch=0))
        await harness.settle()
        number = harness.interrupt()
        assert [frame.epoch for frame in last.seen if isinstance(frame, Interrupt)] == [number]


@pytest.mark.virtual
async def test_a_stuck_processor_holds_back_its_sender_only() -> None:
    """Behind a stuck processor memory is bounded: send waits, offer drops and counts, an interrupt gets through."""
    async with Harness(Waits(1e6), capacity=8) as harness:
        with anyio.move_on_after(1) as scope:
            await harness.send(*(audio(at) for at in range(1000)))
        assert scope.cancelled_caught
        for at in range(1000):
            harness.session.offer(audio(at))
        harness.interrupt()
        statistics = harness.statistics().processors["Waits"]
        assert statistics.waiting == 8
        assert statistics.inbox_peak <= 10
        assert statistics.overflow_dropped > 990
        await harness.session.cancel()


async def test_frames_are_released_after_the_end() -> None:
    """When a session has ended, its frames can be collected."""
    frame = audio()
    seen = weakref.ref(frame.samples)
    sink = Sink()
    async with Pipeline(Plain(), Waits(), InThread(), sink).session() as session:
        await session.send(frame)
    assert [index(each) for each in sink.seen] == [0]
    sink.seen.clear()
    del frame
    gc.collect()
    assert seen() is None


async def test_reply_interrupted_before_its_task_starts() -> None:
    """It never runs."""
    began: list[str] = []

    class Late(Processor):
        async def process(self, frame: Transcript, out: Outlet[Text | Interrupt]) -> None:
            out.respond(self.answer)
            await out.send(Interrupt())

        async def answer(self, reply: Outlet[Text | Interrupt]) -> None:
            began.append("yes")

    async with Harness(Late()) as harness:
        await harness.send(Transcript(text="hi"))
        await harness.end()
    assert began == []
    assert harness.session.epoch == 1


async def test_one_failing_session_leaves_the_others_alone() -> None:
    """Sessions in one process share nothing."""
    other = Sink()
    async with Pipeline(Waits(), other).session() as good:
        await good.send(audio(1))
        with pytest.raises(ContractError):
            async with Pipeline(_NoFrames()).session() as bad:
                await bad.send(audio())
        await good.send(audio(2))
    assert [index(frame) for frame in other.seen] == [1, 2]


class _NoFrames(Processor):
    def process(self, frame: Audio) -> Iterator[Audio]:
        yield "no"  # type: ignore[misc]


class SwallowsEverything(Processor):
    """A processor that swallows even `GeneratorExit`, with a new cancel scope in each round."""

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        while True:
            try:
                with anyio.move_on_after(1000):
                    await anyio.sleep(1000)
            except BaseException:
                pass


@pytest.mark.slow
async def test_swallowing_everything_is_named_too() -> None:
    """What cannot even be closed is abandoned; the program goes on, and can end."""
    for epoch in (LIVE, 0):
        async with Pipeline(SwallowsEverything(), Plain()).session() as session:
            await session.send(audio(epoch=epoch))
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(StuckError, match="'SwallowsEverything' did not stop"):
                await session.cancel()
        gc.collect()
