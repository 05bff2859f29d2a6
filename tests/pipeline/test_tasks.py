"""Tasks: contexts and sources, from their start to their end."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    End,
    Failure,
    Frame,
    Inbox,
    Outlet,
    Pipeline,
    Processor,
    Session,
    SessionError,
    StuckError,
)
from bargein.pipeline.testing import Harness

from .kit import Plain, Sink, Waits, audio, index


class Managed(Processor):
    def __init__(self, log: list[str], fail: str = "") -> None:
        self.log, self.fail = log, fail

    async def __aenter__(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.fail == "enter":
            raise OSError("no such device")
        self.log.append("entered")

    async def __aexit__(self, *_: object) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append("left")
        if self.fail == "exit":
            raise OSError("cannot close")

    def process(self, frame: Frame) -> Iterator[Frame]:
        self.log.append(type(frame).__name__)
        yield frame


async def test_contexts_are_entered_and_left() -> None:
    """A processor that is a context manager is entered before its first frame and left after its last."""
    log: list[str] = []
    async with Pipeline(Managed(log), Waits()).session() as session:
        await session.send(audio())
    assert log == ["entered", "Audio", "left"]
    log.clear()
    with pytest.raises(KeyError):
        async with Pipeline(Managed(log)).session() as session:
            await session.send(audio())
            await anyio.wait_all_tasks_blocked()
            log.append("in use")
            raise KeyError
    assert log == ["entered", "Audio", "in use", "left"]


async def test_a_context_that_fails_ends_the_session() -> None:
    """Failing to enter is raised at the start, failing to leave at the end; those entered before are left."""
    log: list[str] = []
    with pytest.raises(OSError, match="no such device") as caught:
        async with Pipeline(Managed(log), Managed(log, "enter")).session():
            raise AssertionError("not reached")
    assert log == ["entered", "left"]
    assert any("Managed-2" in note for note in caught.value.__notes__)
    with pytest.raises(OSError, match="cannot close"):
        async with Pipeline(Managed(log, "exit")).session():
            pass


async def test_a_foreign_cancellation_is_a_failure(anyio_backend_name: str) -> None:
    """Awaiting an asyncio task that somebody cancelled must not make a processor vanish."""
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no such tasks")
    import asyncio  # noqa: PLC0415

    class Awaits(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            task = asyncio.get_running_loop().create_task(asyncio.Event().wait())
            task.cancel()
            await task

    with pytest.raises(SessionError, match="'Awaits' was cancelled by something other than its session"):
        async with Pipeline(Awaits()).session() as session:
            await session.send(audio())
            await anyio.sleep_forever()


async def test_contexts_may_hold_scopes_open() -> None:
    """A client that opens a task group when it is entered and closes it when it is left, as network clients do."""

    class Client(Processor):
        async def __aenter__(self) -> None:
            self.group = anyio.create_task_group()
            await self.group.__aenter__()
            self.group.start_soon(anyio.sleep_forever)

        async def __aexit__(self, *_: object) -> None:
            self.group.cancel_scope.cancel()
            await self.group.__aexit__(None, None, None)

        def process(self, frame: Audio) -> Iterator[Audio]:
            yield frame

    for how in ("end", "cancel"):
        sink = Sink()
        async with Pipeline(Client(), Waits(), Client(), sink).session() as session:
            await session.send(audio())
            await anyio.wait_all_tasks_blocked()
            if how == "cancel":
                await session.cancel()
        assert len(sink.seen) == 1


@pytest.mark.virtual
async def test_leaving_a_context_is_bounded() -> None:
    """One that takes too long to close after a cancellation is cancelled and named."""

    class Lingers(Processor):
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None:
            await anyio.sleep(100)

        def process(self, frame: Audio) -> Iterator[Audio]:
            yield frame

    before = anyio.current_time()
    async with Pipeline(Lingers()).session() as session:
        with pytest.raises(StuckError, match="'Lingers' did not stop"):
            await session.cancel()
    assert anyio.current_time() - before <= 1


async def test_a_source_in_the_middle_ends_after_those_above() -> None:
    """It may have ended long before: what is above it is still delivered, also when the end is asked for."""

    class Jingle(Processor):
        async def run(self, inbox: Inbox[End], out: Outlet[Audio]) -> None:
            await out.send(audio(9))

    async with Harness(Waits(), Jingle(), Waits()) as harness:
        await harness.send(audio(1), audio(2))
        harness.session.end()
    assert sorted(index(frame) for frame in harness.of(Audio)) == [1, 2, 9]


@pytest.mark.virtual
async def test_a_source_below_others_ends_by_itself() -> None:
    """What ends above fed it nothing. It goes on, and hears what comes up to it."""
    heard: list[str] = []

    class Clock(Processor):
        async def run(self, inbox: Inbox[Failure], out: Outlet[Audio]) -> None:
            with anyio.move_on_after(5):
                heard.extend([frame.message async for frame in inbox])
                heard.append("the end")
            await out.send(audio(7))

    async with Pipeline(Plain(), Clock(), Waits()).session() as session:
        began = anyio.current_time()
        await session.drained()
        assert anyio.current_time() - began == pytest.approx(5)
    assert not heard
    assert session.statistics().processors["Waits"].frames_in == 1


@pytest.mark.virtual
async def test_a_swallower_above_an_ended_graph_is_named() -> None:
    """When the graph has ended by itself, whoever will not stop is let go and named, not spun for ever."""

    class Source(Processor):
        async def run(self, out: Outlet[Audio]) -> None:
            await out.send(audio())
            while True:
                try:
                    await anyio.sleep(1000)
                except GeneratorExit:
                    raise
                except BaseException:
                    pass

    class TakesOne(Processor):
        async def run(self, inbox: Inbox[Audio]) -> None:
            await inbox.receive()

    with pytest.raises(StuckError, match="'Source' swallowed its cancellation"):
        await Pipeline(Source(), TakesOne()).run()
    with pytest.raises(StuckError, match="'Source' swallowed its cancellation"):
        async with Pipeline(Source()).session() as session:
            await anyio.wait_all_tasks_blocked()
            session.end()
            async for _ in session:
                pass


@pytest.mark.virtual
async def test_cancelled_while_entering_leaves_what_was_entered() -> None:
    """A context that was entered is left after a cancellation while entering, and the graph can be used again."""
    log: list[str] = []

    class Enters(Processor):
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        async def __aenter__(self) -> None:
            await anyio.sleep(self.seconds)
            log.append("entered")

        async def __aexit__(self, *_: object) -> None:
            await anyio.sleep(0.1)
            log.append("left")

        def process(self, frame: Audio) -> Iterator[Audio]:
            yield frame

    slow = Enters(100)
    pipeline = Pipeline(Enters(0), slow)
    with anyio.move_on_after(1):
        async with pipeline.session():
            raise AssertionError("not reached")
    assert log == ["entered", "left"]
    slow.seconds = 0
    async with pipeline.session():
        pass
    assert log == ["entered", "left"] + ["entered"] * 2 + ["left"] * 2


async def test_a_processor_cannot_cancel_its_session() -> None:
    """A processor that cancels its session would wait for itself. The error says how to hang up."""

    class Quits(Processor):
        session: Session

        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            await self.session.cancel()

    quits = Quits()
    with pytest.raises(SessionError, match="a processor cannot cancel its own session"):
        async with Pipeline(quits).session() as session:
            quits.session = session
            await session.send(audio())
