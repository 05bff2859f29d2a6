"""Processors that misbehave on purpose: sessions still end within their bound, and name the culprit."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Never

import anyio
import anyio.to_thread
import pytest
from bargein.pipeline import (
    LIVE,
    Audio,
    ContractError,
    FloodError,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    StuckError,
    Text,
    Transcript,
)
from bargein.pipeline.testing import Harness

from .kit import BargesIn, InThread, Plain, Resets, Sink, Waits, audio, index, until


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
    """It is let go, named, and leaves nothing running."""
    async with Pipeline(Plain(), kind().options(name="culprit")).session(cancel_within=5) as session:
        await session.send(audio())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StuckError, match="'culprit' did not stop within 5 s") as caught:
            await session.cancel()
    assert caught.value.processors == ("culprit",)
    assert session.statistics().tasks == 0


async def test_an_uncancellable_call_does_not_hold_the_session() -> None:
    """A shielded wait is named and left behind; when it ends, nothing of the session is left."""
    free = anyio.Event()
    async with Pipeline(Shields(free)).session(cancel_within=0.01) as session:
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
    async with Pipeline(stuck).session(cancel_within=0.05) as session:
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
    """Work on a stale frame that ignores its cancellation fails its processor; by policy the session goes on."""
    async with Harness(Swallows().options(on_error="drop", name="culprit")) as harness:
        await harness.send(audio(0, epoch=0))
        await harness.settle()
        harness.interrupt()
        await anyio.sleep(1)
        assert harness.statistics().processors["culprit"].error_dropped == 1
        assert harness.statistics().processors["culprit"].waiting == 0


@pytest.mark.virtual
async def test_one_that_swallows_does_not_delay_the_others() -> None:
    """The others have the interrupt in the same instant."""
    last = Resets()
    async with Harness(Waits(), Swallows().options(on_error="drop"), last) as harness:
        await harness.send(audio(0, epoch=0))
        await harness.settle()
        number = harness.interrupt()
        assert [frame.epoch for frame in last.seen if isinstance(frame, Interrupt)] == [number]


async def test_endless_emission_is_a_flood() -> None:
    """A generator that never ends is stopped, whether its frames lie in an inbox or leave the graph."""

    class Endless(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            while True:
                yield frame

    for after in (Waits(), Plain()):
        with pytest.raises(FloodError, match="more than 100,000 frames came of one") as caught:
            async with Pipeline(Endless(), after).session() as session:
                await session.send(audio())
        assert any("'Endless'" in note or "'Plain'" in note for note in caught.value.__notes__)


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


def test_what_a_processor_emits_must_be_promised() -> None:
    """An undeclared class, or no frame at all, is a clear error, whichever rung emits it."""

    class Lies(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            yield Text(text="surprise")  # type: ignore[misc]

    class LiesLater(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            await out.send(Text(text="surprise"))  # type: ignore[arg-type]

    class Numbers(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            yield 3  # type: ignore[misc]

    class NumbersLater(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            await out.send(3)  # type: ignore[arg-type]

    class NumbersInThread(Numbers):
        blocking = True

    async def feed(processor: Processor, frame: Audio) -> None:
        async with Pipeline(processor).session() as session:
            await session.send(frame)

    for kind in (Lies, LiesLater):
        with pytest.raises(ContractError, match="emitted Text, but its annotations say that it gives Audio"):
            anyio.run(feed, kind(), audio())
    for number in (Numbers, NumbersLater, NumbersInThread):
        for frame in (audio(), audio(epoch=0)):
            with pytest.raises(ContractError, match=r"emitted (a int|int 3), which is not a Frame"):
                anyio.run(feed, number(), frame)


@pytest.mark.virtual
async def test_an_interrupt_from_inside_a_sweep_waits_for_its_end() -> None:
    """A tap or a function that interrupts while processors are at work re-enters none of them."""
    running = False

    class Checks(Processor):
        def process(self, frame: Audio | Interrupt) -> Iterator[Audio]:
            nonlocal running
            assert not running, "re-entered"
            running = True
            if isinstance(frame, Audio):
                yield frame
            running = False

    sink = Resets()

    async with Harness(Checks(), sink) as harness:

        def interrupt(frame: Audio) -> Iterator[Audio]:
            harness.session.interrupt()
            yield frame

        harness.session.end()
    async with Harness(Checks(), interrupting := _Interrupting(), sink) as harness:
        interrupting.harness = harness
        await harness.send(audio(0))
        assert harness.session.epoch == 1
        assert [type(frame).__name__ for frame in sink.seen] == ["Audio", "Interrupt"]
    del interrupt


class _Interrupting(Processor):
    harness: Harness

    def process(self, frame: Audio) -> Iterator[Audio]:
        self.harness.interrupt()
        yield frame


async def test_nothing_holds_frames_after_the_end() -> None:
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


async def test_a_late_start_of_a_reply_is_no_start() -> None:
    """A reply whose interrupt comes before its task begins never runs."""
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


@pytest.mark.virtual
async def test_barging_in_twice_for_one_cause_is_one_step() -> None:
    """The processor's interrupts count once a response; the application's count always."""
    async with Harness(BargesIn(), inputs_open := Plain()) as harness:
        await harness.send(Transcript(text="a"))
        assert harness.session.epoch == 0
        await harness.send(audio(0, epoch=0), Transcript(text="b"), Transcript(text="c"))
        assert harness.session.epoch == 1
        assert harness.interrupt() == 2
        assert harness.interrupt() == 3
    assert harness.statistics().coalesced == 2
    del inputs_open


class SwallowsEverything(Processor):
    """Not even a `GeneratorExit` gets through, and each round has a cancel scope of its own."""

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        while True:
            try:
                with anyio.move_on_after(1000):
                    await anyio.sleep(1000)
            except BaseException:
                pass


async def test_swallowing_everything_is_named_too() -> None:
    """What cannot even be closed is abandoned; the program goes on, and can end."""
    for epoch in (LIVE, 0):
        async with Pipeline(SwallowsEverything(), Plain()).session() as session:
            await session.send(audio(epoch=epoch))
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(StuckError, match="'SwallowsEverything' did not stop"):
                await session.cancel()
        gc.collect()


async def test_answering_each_other_for_ever_is_a_flood() -> None:
    """One upstream, one down, without end: the session fails, and the caller gets control back."""

    class Asks(Processor):
        def process(self, frame: Audio | Played) -> Iterator[Text]:
            yield Text(text="?")

    class Tells(Processor):
        def process(self, frame: Text) -> Iterator[Played]:
            yield Played(response="r", ms=1)

    with pytest.raises(FloodError, match="do processors answer each other for ever"):
        async with Pipeline(Asks(), Tells()).session() as session:
            await session.send(audio())


async def test_sinks_may_return_what_they_like() -> None:
    """What a sink returns is ignored, in every sweep; one that is a generator runs to its end."""
    seen: list[int] = []

    class Returns(Processor):
        def process(self, frame: Audio) -> None:
            return seen.append(1) or 5  # type: ignore[return-value, func-returns-value]

    class Generates(Processor):
        def process(self, frame: Audio) -> Iterator[Never]:
            seen.append(2)
            yield from ()

    for kind in (Returns, Generates):
        seen.clear()
        async with Pipeline(kind()).session() as session:
            for _ in range(600):
                await session.send(audio())
        assert len(seen) == 600
