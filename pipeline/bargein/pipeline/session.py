"""A session: a graph that runs."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from ._limits import CHECKPOINT_MASK, TAKES_ROOM, future_epoch_error
from ._options import check_options
from ._plan import Plan
from ._run import Run
from ._shutdown import Shutdown, add_stuck_note, consists_of
from .errors import SessionError, StuckError
from .frames import LIVE, Delivery, End, Frame
from .processor import Processor
from .statistics import Hop, SessionStatistics

__all__ = ["Runnable", "Session"]

F = TypeVar("F", bound=Frame)


class Runnable(Protocol):
    """What a session asks of a graph."""

    @property
    def plan(self) -> Plan:
        """The graph, laid flat and checked."""

    @property
    def processors(self) -> tuple[Processor, ...]:
        """Its processors."""


class Session:
    """A running graph: `async with pipeline.session() as session`.

    It owns the tasks, the epoch and the statistics. Leaving the block ends the session gracefully: it takes no more
    input, and everything drains. An exception in the block or in a processor cancels the session. A processor's
    exception is raised at the end of the block, with a note that names the processor.

    Graphs make sessions with `Graph.session`.

    Args:
        graph: The graph to run.
        capacity: How many frames an inbox holds, at least 1.
        output_capacity: How many frames that have left the graph wait for a reader, at least 1.
        cancel_seconds: How long a cancelled session may take to stop.
        drain_seconds: How long a session that ends gracefully may take to drain.
        fused: Whether sync processors run in the task of their sender. False gives each an inbox and a task, which
            changes the cost and nothing else. It exists to check just that.

    Raises:
        SessionError: An option is out of range.
    """

    @check_options
    def __init__(
        self,
        graph: Runnable,
        *,
        capacity: int,
        output_capacity: int,
        cancel_seconds: float,
        drain_seconds: float,
        fused: bool,
    ) -> None:
        for name, value in {"capacity": capacity, "output_capacity": output_capacity}.items():
            if value < 1:
                raise SessionError(f"{name}={value}; a queue holds at least 1 frame")
        for name, bound in {"cancel_seconds": cancel_seconds, "drain_seconds": drain_seconds}.items():
            if not 0 < bound < float("inf"):
                raise SessionError(f"{name}={bound}; every wait ends: give a positive number of seconds")
        self._processors = graph.processors
        self._run = Run(graph.plan, capacity=capacity, output_capacity=output_capacity, fused=fused)
        self._cancel_seconds = cancel_seconds
        self._drain_seconds = drain_seconds
        self._state = "new"
        self._takes_input = True  # the application may send
        self._input_closed = False  # the end of the input has been sent to the graph
        self._sent = 0
        self._body: anyio.CancelScope
        self._shutdown: Shutdown

    # Its life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise SessionError("this session has run already; open another one: graph.session()")
        self._claim()
        self._state = "starting"
        run = self._run
        self._body = anyio.CancelScope()
        self._shutdown = Shutdown(run, self._cancel_seconds, self._drain_seconds, self._release)
        run.on_failure = self._on_failure
        run.on_finished = self._on_finished
        tasks = self._shutdown.tasks
        if tasks.has_tasks:
            try:
                await tasks.start()
            except BaseException as error:
                add_stuck_note(error, await self._stop())
                raise
        if run.failure is not None:
            add_stuck_note(run.failure, await self._stop())
            raise run.failure
        self._state = "running"
        self._body.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run, raised = self._run, error
        try:
            if self._body.__exit__(kind, error, trace):
                error = None  # our own cancellation of the block, because a processor failed
        except BaseException as other:  # a task group in the block has wrapped that cancellation
            error = other
        self._discard_output()
        if error is None and run.failure is None and self._state == "running":
            self.end()
            error = await self._shutdown.drain()
        stuck = await self._stop()
        if run.failure is not None and (error is None or consists_of(error, run.failure)):
            add_stuck_note(run.failure, stuck)
            if raised is not run.failure:
                raise run.failure
            return
        if error is not None:
            if run.failure is not None and error is not run.failure:
                error.add_note(f"besides, the session failed: {type(run.failure).__name__}: {run.failure}")
            if not isinstance(error, StuckError):
                add_stuck_note(error, stuck)
            if error is not raised:
                raise error
        elif stuck:
            raise stuck

    def end(self) -> None:
        """End gracefully: take no more input, stop the sources, finish what is under way.

        Returns at once. Continue to read with `async for`, or leave the block to wait until everything has drained.
        """
        self._check_begun()
        self._takes_input = False
        self._run.sweeper.defer_end(self._end_now)

    def _end_now(self) -> None:
        if self._state != "running":
            return
        self._close_input()
        for stage in self._run.stages[1:-1]:
            if not stage.node.source or stage.inbox is None:
                continue
            if stage.takes_end:
                stage.inbox._put_end(End(), deliver=True)
            elif stage.scope is not None:
                stage.scope.cancel()

    async def drained(self) -> None:
        """Take no more input, and wait until every source has ended by itself and everything has drained.

        Once the graph has ended, processors that do not stop are waited for no longer than `drain_seconds`.
        """
        self._check_begun()
        self._discard_output()
        self._takes_input = False
        self._run.sweeper.defer_end(self._close_input)
        await self._shutdown.finished.wait()
        await self._shutdown.wait_over()

    async def cancel(self) -> None:
        """Stop now. Finishes within `cancel_seconds` whatever the processors do.

        Raises:
            StuckError: Processors did not stop. It names them.
        """
        self._check_begun()
        if self._shutdown.tasks.includes_current():
            raise SessionError(
                "a processor cannot cancel its own session, as cancel() waits for the processor; "
                "to hang up, send End() or call session.end()"
            )
        stuck = await self._stop()
        if stuck:
            raise stuck

    # Its use ------------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The current epoch: the number of interrupts so far."""
        return self._run.epoch.number

    async def send(self, frame: Frame) -> None:
        """Put a frame in at the head, and wait until there is room for more.

        A frame that travels upstream goes to every processor that takes it. Media or text with an epoch is treated as
        part of a reply of that epoch.

        Args:
            frame: The frame to put in.

        Raises:
            SessionError: The session has ended.
            Exception: What a fused processor raised.
        """
        run = self._run
        if run.entry.unpaid and isinstance(frame, Frame) and frame.delivery in TAKES_ROOM:
            await run.pay(run.entry)
        self._feed(frame)
        if run.overfull:
            await run.wait_for_room(run.entry)
            if self._state != "running":
                self._check_open()  # the wait ended because the session did, not because there was room
            self._raise_failure()
        else:
            self._sent += 1
            if not self._sent & CHECKPOINT_MASK:
                await checkpoint()

    def offer(self, frame: Frame) -> None:
        """Put a frame in without waiting. Where an inbox is full, its oldest frame is dropped and counted.

        Args:
            frame: The frame, as for `send`.
        """
        self._feed(frame)
        self._run.trim()

    def interrupt(self, reason: str = "") -> int:
        """Interrupt, always advancing the epoch. It has taken effect when this returns.

        Args:
            reason: Why, for logs and timelines.

        Returns:
            The new epoch.
        """
        self._check_running()
        number = self._run.interrupts.interrupt(reason)
        self._raise_failure()
        return number

    def begin_response(self) -> int:
        """Record that a response is heard that this graph did not make, so that an automatic interrupt can end it.

        Returns:
            The epoch that the response belongs to.
        """
        self._check_running()
        return self._run.epoch.begin_response()

    def statistics(self) -> SessionStatistics:
        """Return what has been counted so far, as a frozen snapshot. Works after the end too."""
        return self._run.statistics()

    @contextmanager
    def tap(self, observer: Callable[[Hop], None]) -> Iterator[None]:
        """While the block runs, call an observer with every hop of every frame. Costs nothing without observers.

        Args:
            observer: Called with each hop. It must not wait and must not change the frame. One that raises is removed.
        """
        self._run.taps += (observer,)
        try:
            yield
        finally:
            taps = list(self._run.taps)
            if observer in taps:
                taps.remove(observer)
            self._run.taps = tuple(taps)

    async def of(self, *kinds: type[F]) -> AsyncIterator[F]:
        """Iterate over the frames of some classes that leave the graph, until it has ended. Others are discarded.

        Example: `async for text in session.of(Text): print(text.text)`.

        Args:
            kinds: Frame classes.
        """
        async for frame in self:
            if isinstance(frame, kinds):
                yield frame

    def __aiter__(self) -> Self:
        """Iterate over what leaves the graph, urgent frames first, until it has ended.

        Once there is a reader, the graph waits for it. Before, the newest `output_capacity` frames are kept.
        """
        run = self._run
        if run.discarded and not run.is_read and self._state == "running":
            warnings.warn(
                f"{run.discarded} frames left the graph before there was a reader, and were dropped; "
                "read in another task while you send, or allow more: session(output_capacity=...)",
                RuntimeWarning,
                stacklevel=2,
            )
        run.is_read = True
        return self

    async def __anext__(self) -> Frame:
        self._check_begun()
        try:
            frame: Frame = await self._run.output.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        return frame

    def __repr__(self) -> str:
        return f"<Session {self._state}, epoch {self.epoch}, {self._run.plan.processors}>"

    # Its insides --------------------------------------------------------------------------------------------------

    def _feed(self, frame: Frame) -> None:
        if not isinstance(frame, Frame):
            raise SessionError(f"send() takes a Frame, not {type(frame).__name__} {frame!r:.60}")
        self._check_open()
        run = self._run
        if frame.delivery is Delivery.STREAM and frame.epoch != LIVE:
            if frame.epoch < run.epoch.number:
                run.entry.counters.stale += 1
                return
            if frame.epoch > run.epoch.number:
                raise future_epoch_error(frame, run.epoch.number)
            run.epoch.begin_response()
        if frame.delivery is Delivery.LAST:
            self.end()
            return
        run.feed(run.entry, frame)
        self._raise_failure()

    def _check_open(self) -> None:
        self._check_running()
        if not self._takes_input:
            raise SessionError("the session has ended; it accepts no more frames")

    def _check_begun(self) -> None:
        if self._state in ("new", "starting"):
            raise SessionError("the session has not begun; use `async with graph.session() as session`")

    def _check_running(self) -> None:
        self._raise_failure()
        self._check_begun()
        if self._state != "running":
            raise SessionError("the session has ended; it accepts no more frames")

    def _raise_failure(self) -> None:
        if self._run.failure is not None:
            raise self._run.failure

    def _close_input(self) -> None:
        if not self._input_closed and self._state == "running":
            self._input_closed = True
            self._run.close_input()

    def _discard_output(self) -> None:
        """Discard what leaves the graph from now on, so that nothing waits for a reader."""
        run = self._run
        if run.keeps_output:
            run.keeps_output = False
            run.output._close()

    def _on_failure(self) -> None:
        self._body.cancel()
        self._shutdown.on_failure()

    def _on_finished(self) -> None:
        self._takes_input = False
        self._shutdown.on_finished()

    async def _stop(self) -> StuckError | None:
        self._state = "ended"
        self._discard_output()
        return await self._shutdown.stop()

    def _claim(self) -> None:
        """Take the processors for this session. A processor keeps the state of one session."""
        for processor in self._processors:
            if processor._session is not None:
                raise SessionError(
                    f"{processor!r} already runs in another session, and a processor keeps the state of one. "
                    "Build a graph for each session: a function that returns one"
                )
        for processor in self._processors:
            processor._session = self

    def _release(self) -> None:
        for processor in self._processors:
            processor._session = None
