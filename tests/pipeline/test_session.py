"""Sessions: their life, their use, and how they end."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    Branch,
    End,
    Failure,
    Hop,
    Inbox,
    Interrupt,
    LinkError,
    Outlet,
    Pipeline,
    Processor,
    Session,
    SessionError,
    StuckError,
    Text,
    Video,
)
from bargein.pipeline.testing import Harness, Scripted

from .kit import VIDEO, InThread, Loops, Plain, Sink, Waits, audio, index

EACH = [Plain, Waits, Loops, InThread]


@pytest.mark.parametrize("kind", EACH)
async def test_frames_come_out_in_order(kind: type[Processor]) -> None:
    """For every kind of processor, all frames come out in order and the session ends."""
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
    """Ten sync processors run in their sender's task."""
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
    """A value that is not a frame is named in the error."""
    async with Pipeline(Plain()).session() as session:
        with pytest.raises(SessionError, match="takes a Frame, not int 3"):
            await session.send(3)  # type: ignore[arg-type]


async def test_bounds_are_checked() -> None:
    """A queue without room and a wait without end are refused."""
    with pytest.raises(SessionError, match="capacity=0"):
        Pipeline(Plain()).session(capacity=0)
    with pytest.raises(SessionError, match="every wait ends"):
        Pipeline(Plain()).session(drain_seconds=float("inf"))


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
    """on_error="drop" loses the frame, counts and reports it, and the session continues."""
    async with Harness(kind().options(on_error="drop", name="culprit")) as harness:
        await harness.send(audio(0), audio(1), audio(2))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == [0, 2]
    (failure,) = harness.of(Failure)
    assert failure.processor == "culprit"
    assert "ValueError: no ones" in failure.message
    assert harness.statistics().processors["culprit"].error_dropped == 1


async def test_restart_begins_the_loop_again() -> None:
    """With `on_error="restart"` the loop begins again, up to its limit. Then the exception ends the session."""
    loop = RaisesInLoop().options(on_error="restart", max_restarts=2, name="culprit")
    async with Harness(loop) as harness:
        await harness.send(audio(1), audio(0), audio(1), audio(2))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == [0, 2]
    assert harness.statistics().processors["culprit"].restarts == 2
    with pytest.raises(ValueError, match="no ones"):
        async with Harness(RaisesInLoop().options(on_error="restart", max_restarts=2)) as harness:
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
        async with Pipeline(Waits(50)).session(drain_seconds=2) as session:
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


async def test_unread_output_keeps_the_newest() -> None:
    """Frames that nobody reads do not block the graph: the oldest are dropped, counted, and reported on reading."""
    async with Pipeline(Plain()).session(output_capacity=10) as session:
        for at in range(25):
            await session.send(audio(at))
        session.end()
        with pytest.warns(RuntimeWarning, match="15 frames left the graph before there was a reader"):
            got = [index(frame) async for frame in session]
    assert got == list(range(15, 25))
    assert session.statistics().discarded == 15


async def test_a_reader_is_waited_for() -> None:
    """Once somebody reads, nothing is lost: the sender waits."""
    got: list[int] = []

    async with Pipeline(Plain()).session(output_capacity=4) as session, anyio.create_task_group() as group:

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


async def test_sender_is_woken_by_the_end() -> None:
    """A task that waits in `send` outside the block is woken with the reason."""
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


async def test_a_missing_reader_never_blocks() -> None:
    """Sweeps that are watched or timed do not block either."""
    async with Pipeline(Plain()).session(output_capacity=4) as session:
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


@pytest.mark.virtual
async def test_a_failure_while_draining_is_bounded_by_cancelling() -> None:
    """The bound is that of cancelling, not that of draining."""

    class Shields(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(20)

    class FailsSoon(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            await anyio.sleep(0.1)
            raise ValueError("soon")

    before = anyio.current_time()
    with pytest.raises(ValueError, match="soon"):
        async with Branch(Shields(), FailsSoon()).session(cancel_seconds=0.5, drain_seconds=100) as session:
            await session.send(audio())
    assert anyio.current_time() - before == pytest.approx(0.6)
    await anyio.sleep(30)


async def test_session_that_has_not_begun() -> None:
    """Each method raises an error that says so, even while the session begins."""
    session = Pipeline(Plain()).session()
    for ask in (session.cancel, session.drained, session.__anext__):
        with pytest.raises(SessionError, match="has not begun"):
            await ask()
    with pytest.raises(SessionError, match="has not begun"):
        session.end()

    class Enters(Processor):
        session: Session

        async def __aenter__(self) -> None:
            with pytest.raises(SessionError, match="has not begun"):
                self.session.offer(audio())

        async def __aexit__(self, *_: object) -> None: ...

        def process(self, frame: Audio) -> Iterator[Audio]:
            yield frame

    enters = Enters()
    enters.session = Pipeline(enters).session()
    async with enters.session:
        pass


async def test_sending_to_an_ended_graph_is_an_error() -> None:
    """A graph may end by itself."""

    class TakesOne(Processor):
        async def run(self, inbox: Inbox[Audio]) -> None:
            await inbox.receive()

    seen: list[Audio] = []

    def look(frame: Audio) -> Iterator[Audio]:
        seen.append(frame)
        yield frame

    async with Pipeline(look, TakesOne()).session() as session:
        await session.send(audio())
        await session.drained()
        with pytest.raises(SessionError, match="has ended"):
            await session.send(audio())
    assert len(seen) == 1


async def test_taps_are_removed_one_by_one() -> None:
    """The same observer twice sees everything twice, until one is gone."""
    seen: list[Hop] = []
    async with Pipeline(Sink()).session() as session:
        with session.tap(seen.append):
            with session.tap(seen.append):
                await session.send(audio())
            await session.send(audio())
    assert len(seen) == 3


async def test_an_answer_from_elsewhere_can_be_interrupted() -> None:
    """An automatic interrupt advances the epoch only when there is a response to end: here, one of somebody else's."""
    async with Harness(Scripted(Text, Interrupt(), Text, Interrupt())) as harness:
        await harness.send(Text(text="hello"))
        await harness.settle()
        assert harness.session.epoch == 0
        assert harness.session.begin_response() == 0
        await harness.send(Text(text="wait"))
        await harness.settle()
        assert harness.session.epoch == 1


async def test_reading_by_class_is_typed() -> None:
    """`session.of` gives the frames of the classes that it is asked for, and discards the others."""
    async with Pipeline(Plain()).session() as session:
        for frame in (audio(1), Text("a"), audio(2), VIDEO):
            await session.send(frame)
        session.end()
        assert [frame.samples[0] async for frame in session.of(Audio)] == [1, 2]
    async with Pipeline(Plain()).session() as session:
        for frame in (audio(1), Text("a"), VIDEO):
            await session.send(frame)
        session.end()
        assert [type(frame) async for frame in session.of(Text, Video)] == [Text, Video]
