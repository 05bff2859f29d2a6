"""Sessions: their life, their use, and how they end."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from bargein.pipeline import (
    Audio,
    End,
    Failure,
    Frame,
    Hop,
    Inbox,
    Interrupt,
    LinkError,
    Outlet,
    Pipeline,
    Played,
    Processor,
    Session,
    SessionError,
    StuckError,
    Text,
)
from bargein.pipeline.testing import Harness, Reply, Scripted

from .kit import InThread, Loops, Plain, Sink, Waits, audio, index

EACH = [Plain, Waits, Loops, InThread]


@pytest.mark.parametrize("kind", EACH)
async def test_frames_come_out_in_order(kind: type[Processor]) -> None:
    """Whatever the rung, what goes in comes out, in order, and the session ends."""
    async with Pipeline(kind(), kind()).session() as session:
        for at in range(100):
            await session.send(audio(at))
        session.end()
        assert [index(frame) async for frame in session] == list(range(100))
    statistics = session.statistics()
    assert [each.frames_in for each in statistics.processors.values()] == [100, 100]
    assert [each.frames_out for each in statistics.processors.values()] == [100, 100]
    assert statistics.tasks == 0


@pytest.mark.parametrize("kind", EACH)
async def test_leaving_the_block_drains(kind: type[Processor]) -> None:
    """What was sent before the end of the block reaches the sink."""
    sink = Sink()
    async with Pipeline(kind(), sink).session() as session:
        for at in range(20):
            await session.send(audio(at))
    assert [index(frame) for frame in sink.seen] == list(range(20))


async def test_a_fused_session_has_no_tasks() -> None:
    """Ten plain processors run in their sender's task."""
    async with Pipeline(*(Plain() for _ in range(10))).session() as session:
        await session.send(audio())
        assert session.statistics().tasks == 0


async def test_run_plays_its_sources_out() -> None:
    """`await pipeline.run()` returns when the source has ended and all has drained."""
    sink = Sink()
    await Pipeline(Scripted(*(audio(at) for at in range(5))), Waits(), sink).run()
    assert [index(frame) for frame in sink.seen] == [0, 1, 2, 3, 4]


async def test_run_without_a_source_says_so() -> None:
    """A pipeline into which nothing ever comes would wait for ever."""
    with pytest.raises(LinkError, match="has no source, so run"):
        await Pipeline(Plain()).run()


async def test_a_session_runs_once() -> None:
    """A second use, a use before and a use after the block are refused in words."""
    session = Pipeline(Plain()).session()
    with pytest.raises(SessionError, match="has not begun"):
        await session.send(audio())
    async with session:
        pass
    with pytest.raises(SessionError, match="has ended"):
        await session.send(audio())
    with pytest.raises(SessionError, match="has ended"):
        session.interrupt()
    with pytest.raises(SessionError, match="open another one"):
        await session.__aenter__()


async def test_send_takes_frames_only() -> None:
    """Something else is named in the error."""
    async with Pipeline(Plain()).session() as session:
        with pytest.raises(SessionError, match="takes a Frame, not int 3"):
            await session.send(3)  # type: ignore[arg-type]


async def test_bounds_are_checked() -> None:
    """A queue without room and a wait without end are refused."""
    with pytest.raises(SessionError, match="capacity=0"):
        Pipeline(Plain()).session(capacity=0)
    with pytest.raises(SessionError, match="every wait ends"):
        Pipeline(Plain()).session(drain_within=float("inf"))


async def test_a_processor_runs_in_one_session_at_a_time() -> None:
    """Two sessions over the same processors would mix their state; one after the other is fine."""
    pipeline = Pipeline(Plain())
    async with pipeline.session():
        with pytest.raises(SessionError, match="already runs in another session"):
            await pipeline.session().__aenter__()
    async with pipeline.session() as session:
        await session.send(audio())


class Raises(Processor):
    def process(self, frame: Audio) -> Iterator[Audio]:
        if index(frame) == 1:
            raise ValueError("no ones")
        yield frame


class RaisesLater(Processor):
    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        if index(frame) == 1:
            raise ValueError("no ones")
        await out.send(frame)


class RaisesInLoop(Processor):
    async def run(self, inbox: Inbox[Audio], out: Outlet[Audio]) -> None:
        async for frame in inbox:
            if index(frame) == 1:
                raise ValueError("no ones")
            await out.send(frame)


class RaisesInThread(Raises):
    blocking = True


@pytest.mark.parametrize("kind", [Raises, RaisesLater, RaisesInLoop, RaisesInThread])
async def test_an_exception_ends_the_session(kind: type[Processor]) -> None:
    """The block is left with the processor's own exception, and a note names the processor."""
    with pytest.raises(ValueError, match="no ones") as caught:
        async with Pipeline(Plain(), kind().options(name="culprit"), Plain()).session() as session:
            await session.send(audio(1))
            await anyio.sleep_forever()
    assert any("in processor 'culprit'" in note for note in caught.value.__notes__)
    assert sum("in processor" in note for note in caught.value.__notes__) == 1


@pytest.mark.parametrize("kind", [Raises, RaisesLater, RaisesInThread])
async def test_drop_loses_one_frame(kind: type[Processor]) -> None:
    """With on_error="drop" the frame is lost, counted and reported, and the session goes on."""
    async with Harness(kind().options(on_error="drop", name="culprit")) as harness:
        await harness.send(audio(0), audio(1), audio(2))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == [0, 2]
    (failure,) = harness.of(Failure)
    assert failure.processor == "culprit"
    assert "ValueError: no ones" in failure.message
    assert harness.statistics().processors["culprit"].error_dropped == 1


async def test_restart_starts_the_loop_anew() -> None:
    """With on_error="restart" the loop begins again, up to its limit, and then the exception ends the session."""
    loop = RaisesInLoop().options(on_error="restart", restarts=2, name="culprit")
    async with Harness(loop) as harness:
        await harness.send(audio(1), audio(0), audio(1), audio(2))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == [0, 2]
    assert harness.statistics().processors["culprit"].restarts == 2
    with pytest.raises(ValueError, match="no ones"):
        async with Harness(RaisesInLoop().options(on_error="restart", restarts=2)) as harness:
            await harness.send(audio(1), audio(1), audio(1))
            await harness.end()


async def test_an_exception_in_the_block_cancels() -> None:
    """The user's own exception passes unchanged."""
    with pytest.raises(KeyError):
        async with Pipeline(Waits()).session() as session:
            await session.send(audio())
            raise KeyError("mine")


@pytest.mark.virtual
async def test_cancelling_the_caller_cancels_the_session() -> None:
    """A scope around the block ends it, also while it drains."""
    started = anyio.current_time()
    with anyio.move_on_after(1):
        async with Pipeline(Waits(50)).session() as session:
            await session.send(audio())
    assert anyio.current_time() - started == pytest.approx(1)
    assert session.statistics().tasks == 0


@pytest.mark.virtual
async def test_draining_is_bounded() -> None:
    """A processor that takes too long at the end is cancelled and named."""
    with pytest.raises(StuckError, match=r"'Waits' did not drain within 2 s") as caught:
        async with Pipeline(Waits(50)).session(drain_within=2) as session:
            await session.send(audio())
    assert caught.value.processors == ("Waits",)


@pytest.mark.virtual
async def test_sources_stop_at_the_end() -> None:
    """`session.end()` stops a source that would go on for ever; what it gave is kept."""
    async with Pipeline(Scripted(audio(1), 0.02, loop=True)).session() as session:
        await anyio.sleep(0.09)
        session.end()
        assert len([frame async for frame in session]) == 5


@pytest.mark.virtual
async def test_cancel_keeps_nothing_running() -> None:
    """`cancel()` in the middle of the block ends everything; a second one does nothing."""
    async with Pipeline(Waits(50), Loops(), InThread()).session() as session:
        await session.send(audio())
        await session.cancel()
        assert session.statistics().tasks == 0
        await session.cancel()


async def test_upstream_frames_reach_all_above() -> None:
    """`Played` goes to every processor above that takes it, whatever its rung; untaken it leaves the graph."""

    class Hears(Processor):
        def __init__(self) -> None:
            self.heard: list[float] = []

        def process(self, frame: Played) -> None:
            self.heard.append(frame.ms)

    class HearsLater(Processor):
        heard: list[float]

        def __init__(self) -> None:
            self.heard = []

        async def process(self, frame: Played | Audio, out: Outlet[Audio]) -> None:
            if isinstance(frame, Played):
                self.heard.append(frame.ms)
            else:
                await out.send(frame)

    class Plays(Processor):
        def process(self, frame: Audio) -> Iterator[Played | Audio]:
            yield Played(response="r", ms=20)
            yield frame

    near, far, deaf = Hears(), HearsLater(), Hears()
    async with Harness(far, near, Plays(), deaf) as harness:
        await harness.send(audio())
        await harness.end()
    assert (near.heard, far.heard, deaf.heard) == ([20], [20], [])
    async with Harness(Plays()) as harness:
        await harness.send(audio())
        await harness.end()
    assert len(harness.of(Played)) == 1
    below = Hears()
    async with Pipeline(Plain(), below).session() as session:
        await session.send(Played(response="r", ms=40))
    assert below.heard == [40]


async def test_a_tap_sees_every_hop() -> None:
    """An observer sees who gave what to whom, only while it is attached."""
    seen: list[Hop] = []
    async with Pipeline(Plain(), Waits()).session() as session:
        await session.send(audio(0))
        await anyio.wait_all_tasks_blocked()
        with session.tap(seen.append):
            await session.send(audio(1))
            session.interrupt()
            await anyio.wait_all_tasks_blocked()
        await session.send(audio(2))
    assert [(hop.source, hop.target, type(hop.frame)) for hop in seen] == [
        ("in", "Plain", Audio),
        ("Plain", "Waits", Audio),
        ("in", "out", Interrupt),
        ("Waits", "out", Audio),
    ]


async def test_a_raising_tap_is_removed(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that raises is logged and removed; the session goes on."""
    sink = Sink()

    def broken(_: Hop) -> None:
        raise RuntimeError("oops")

    async with Pipeline(Plain(), sink).session() as session:
        with session.tap(broken):
            await session.send(audio())
            await session.send(audio())
    assert len(sink.seen) == 2
    assert len([record for record in caplog.records if "an observer raised" in record.message]) == 1


async def test_unread_output_keeps_the_newest() -> None:
    """Frames that nobody reads do not block the graph: the oldest are dropped, counted, and reported on reading."""
    async with Pipeline(Plain()).session(outputs=10) as session:
        for at in range(25):
            await session.send(audio(at))
        session.end()
        with pytest.warns(RuntimeWarning, match="15 frames left the graph before anybody read them"):
            got = [index(frame) async for frame in session]
    assert got == list(range(15, 25))
    assert session.statistics().discarded == 15


async def test_a_reader_is_waited_for() -> None:
    """Once somebody reads, nothing is lost: the sender waits."""
    got: list[int] = []

    async with Pipeline(Plain()).session(outputs=4) as session, anyio.create_task_group() as group:

        async def read() -> None:
            async for frame in session:
                await anyio.lowlevel.checkpoint()
                got.append(index(frame))

        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        for at in range(100):
            await session.send(audio(at))
        session.end()
    assert got == list(range(100))


async def test_end_as_a_frame_ends_the_session() -> None:
    """Sending `End` is ending; a processor that yields it hangs up."""

    class HangsUp(Processor):
        def process(self, frame: Text) -> Iterator[Text | End]:
            yield frame
            if frame.text == "bye":
                yield End(reason="said so")

    async with Pipeline(Plain()).session() as session:
        await session.send(End())
        assert [frame async for frame in session] == []
    async with Pipeline(HangsUp(), Pipeline(_Texts())).session() as session:
        for word in ("hello", "bye", "too late"):
            await session.send(Text(text=word))
        assert [frame.text async for frame in session if isinstance(frame, Text)] == ["hello", "bye"]
    assert session.statistics().processors["HangsUp"].late_dropped == 1


class _Texts(Processor):
    async def process(self, frame: Text, out: Outlet[Text]) -> None:
        await out.send(frame)


@pytest.mark.virtual
async def test_replies_are_finished_before_the_end() -> None:
    """A graceful end lets a response finish; `End` comes after its last frame."""
    script = Scripted(Audio, Reply(Text(text="a"), 0.5, Text(text="b")))
    async with Harness(script) as harness:
        await harness.send(audio())
        await harness.end()
    assert [frame.text for frame in harness.of(Text)] == ["a", "b"]


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


class ThreadOnly(Processor):
    blocking = True

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def __enter__(self) -> None:
        self.note()

    def __exit__(self, *_: object) -> None:
        self.note()

    def note(self) -> None:
        import threading  # noqa: PLC0415

        self.threads.add(threading.current_thread().name)

    def process(self, frame: Audio) -> Iterator[Audio]:
        self.note()
        yield frame


async def test_blocking_work_stays_in_one_thread() -> None:
    """A blocking processor is entered, used and left in one thread of its own."""
    processor = ThreadOnly()
    async with Pipeline(processor, Plain()).session() as session:
        for at in range(100):
            await session.send(audio(at))
    assert processor.threads == {"bargein ThreadOnly"}


async def test_a_task_that_feeds_ends_with_the_session() -> None:
    """One that waits in `send` outside the block is woken, and told why."""
    told: list[BaseException] = []

    for how in ("cancel", "fail"):
        async with anyio.create_task_group() as group:

            async def feed(session: Session) -> None:
                try:
                    while True:
                        await session.send(audio(2))
                except (SessionError, ValueError) as error:
                    told.append(error)

            try:
                async with Pipeline(Stuck(), RaisesLater()).session(capacity=2) as session:
                    group.start_soon(feed, session)
                    await anyio.wait_all_tasks_blocked()
                    if how == "cancel":
                        await session.cancel()
                    else:
                        await session._run.stages[2].processor.process(audio(1), None)
            except ValueError:
                pass
    assert [type(error) for error in told] == [SessionError, SessionError]


class Stuck(Processor):
    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        await anyio.sleep_forever()


async def test_a_group_in_the_block_does_not_wrap_the_failure() -> None:
    """A task group between the block and the failing `send` would make an exception group of it."""
    with pytest.raises(ValueError, match="no ones"):
        async with Pipeline(Raises()).session() as session, anyio.create_task_group() as group:
            group.start_soon(session.send, audio(1))
    with pytest.raises(ExceptionGroup) as caught:
        async with Pipeline(Raises()).session() as session, anyio.create_task_group() as group:
            group.start_soon(session.send, audio(1))
            group.start_soon(_fails_in_clean_up)
    assert any("besides, the session failed: ValueError: no ones" in note for note in caught.value.__notes__)


async def _fails_in_clean_up() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise KeyError("clean-up")


@pytest.mark.virtual
async def test_leaving_waits_for_a_cancel_under_way() -> None:
    """When another task cancels, the block is left only when that has finished."""

    class CleansUp(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.5)

    async with anyio.create_task_group() as group:
        async with Pipeline(CleansUp()).session() as session:
            await session.send(audio())
            await anyio.wait_all_tasks_blocked()
            group.start_soon(session.cancel)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        assert session.statistics().tasks == 0


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


async def test_nobody_reading_never_blocks() -> None:
    """Not on the sweeps that are watched or timed either."""
    async with Pipeline(Plain()).session(outputs=4) as session:
        for at in range(600):
            await session.send(audio(at))
        with session.tap(lambda hop: None):
            for at in range(600):
                await session.send(audio(at))
        assert session.statistics().discarded == 1196


async def test_an_interrupt_counts_while_the_session_drains() -> None:
    """After `end()` nothing can be sent, but what is under way can be interrupted."""
    async with Pipeline(Waits()).session() as session:
        session.end()
        assert session.interrupt() == 1
        with pytest.raises(SessionError, match="has ended"):
            await session.send(audio())


async def test_ending_from_inside_a_sweep_keeps_what_is_under_way() -> None:
    """A processor that hangs up through the session still gives what it was about to give."""
    for fused in (True, False):
        hangs_up = HangsUpItself()
        async with Harness(hangs_up, fused=fused) as harness:
            hangs_up.harness = harness
            await harness.send(audio(1))
            await harness.settle()
        assert [index(frame) for frame in harness.of(Audio)] == [1, 1]


class HangsUpItself(Processor):
    harness: Harness

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame
        self.harness.session.end()
        yield frame


async def test_a_source_in_the_middle_ends_after_those_above() -> None:
    """It may have ended long before: what is above it is still delivered, also when the end is asked for."""

    class Jingle(Processor):
        async def run(self, inbox: Inbox[End], out: Outlet[Audio]) -> None:
            await out.send(audio(9))

    async with Harness(Waits(), Jingle(), Waits()) as harness:
        await harness.send(audio(1), audio(2))
        harness.session.end()
    assert sorted(index(frame) for frame in harness.of(Audio)) == [1, 2, 9]


async def test_a_lost_reply_is_reported_as_one() -> None:
    """Under either forgiving policy the loop goes on."""

    class Speaks(Processor):
        async def run(self, inbox: Inbox[Audio], out: Outlet[Text]) -> None:
            async for _ in inbox:
                out.respond(self.answer)

        async def answer(self, reply: Outlet[Text]) -> None:
            raise ValueError("hiccup")

    async with Harness(Speaks().options(on_error="restart", restarts=0)) as harness:
        await harness.send(audio(), audio())
        await harness.end()
    assert [failure.message for failure in harness.of(Failure)] == ["Speaks lost a reply: ValueError: hiccup"] * 2


async def test_a_closed_stream_inside_a_loop_is_an_error() -> None:
    """`EndOfStream` ends a loop only when it is the inbox's; a socket's is restarted like any exception."""

    class Reads(Processor):
        def __init__(self) -> None:
            self.attempts = 0

        async def run(self, out: Outlet[Audio]) -> None:
            self.attempts += 1
            if self.attempts < 3:
                raise anyio.EndOfStream
            await out.send(audio(1))

    reads, sink = Reads().options(on_error="restart"), Sink()
    await Pipeline(reads, sink).run()
    assert (reads.attempts, len(sink.seen)) == (3, 1)
