"""A session: a graph that runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio.lowlevel import checkpoint

from ._run import Run
from ._tasks import Tasks
from .errors import SessionError, StuckError
from .frames import LIVE, Delivery, End, Frame
from .ports import CHECKPOINT_MASK, WAITS, not_begun
from .statistics import Hop, SessionStatistics

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["Session"]


class Session:
    """A running graph: `async with pipeline.session() as session`.

    It owns the tasks, the epoch and the statistics. Leaving the block ends it gracefully: no more input, everything
    drains, within `drain_within` seconds. An exception in the block, or in a processor, cancels it, within
    `cancel_within` seconds. A processor's exception is raised at the end of the block, with a note that names it.

    Options: `capacity`, how many frames an inbox holds; `outputs`, how many frames wait for whoever iterates over the
    session; `cancel_within` and `drain_within`, the bounds in seconds; `fused=False` gives every processor an inbox
    and a task, which changes nothing but the cost, and is there to check just that.
    """

    def __init__(
        self, graph: Graph, *, capacity: int, outputs: int, cancel_within: float, drain_within: float, fused: bool
    ) -> None:
        for name, value in {"capacity": capacity, "outputs": outputs}.items():
            if value < 1:
                raise SessionError(f"{name}={value}; a queue holds at least 1 frame")
        for name, bound in {"cancel_within": cancel_within, "drain_within": drain_within}.items():
            if not 0 < bound < float("inf"):
                raise SessionError(f"{name}={bound}; every wait ends: give a positive number of seconds")
        self.graph = graph
        self._run = Run(graph.plan, capacity=capacity, outputs=outputs, fused=fused)
        self._cancel_within = cancel_within
        self._drain_within = drain_within
        self._state = "new"
        self._input_open = True  # the application may send
        self._input_closed = False  # and the graph has been told that it will not
        self._stopped: anyio.Event | None = None
        self._over: anyio.Event | None = None  # nothing runs any more
        self._draining: anyio.CancelScope | None = None
        self._streak = 0

    # Its life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise SessionError("this session has run already; open another one: graph.session()")
        self._claim()
        self._state = "starting"
        run = self._run
        self._over = anyio.Event()
        self._finished = anyio.Event()
        self._draining = None
        self._body = anyio.CancelScope()
        self._tasks = run.tasks = Tasks(run, self._cancel_within, self._drain_within, self._on_done)
        run.on_failure = self._on_failure
        run.on_finished = self._on_finished
        if self._tasks.needed:
            try:
                await self._tasks.start()
            except BaseException as error:
                _note(error, await self._stop())
                raise
        if run.failure is not None:
            _note(run.failure, await self._stop())
            raise run.failure
        self._state = "running"
        self._body.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run, given = self._run, error
        try:
            if self._body.__exit__(kind, error, trace):
                error = None  # our own cancellation of the block, because a processor failed
        except BaseException as other:  # what a task group in the block made of that cancellation
            error = other
        self._silence()
        if error is None and run.failure is None and self._state == "running":
            self.end()
            error = await self._drain()
        stuck = await self._stop()
        if run.failure is not None and (error is None or _only(error, run.failure)):
            _note(run.failure, stuck)
            if given is not run.failure:
                raise run.failure
            return
        if error is not None:
            if run.failure is not None and error is not run.failure:
                error.add_note(f"besides, the session failed: {type(run.failure).__name__}: {run.failure}")
            if not isinstance(error, StuckError):
                _note(error, stuck)
            if error is not given:
                raise error
        elif stuck:
            raise stuck

    async def _drain(self) -> BaseException | None:
        """Wait for everything to drain, within the bound. What goes wrong is returned: there is more to do first."""
        try:
            with anyio.move_on_after(self._drain_within) as drain:
                self._draining = drain
                await self._wait_over()
        except BaseException as error:
            return error
        if not drain.cancelled_caught or self._run.failure is not None:
            return None
        left = self._tasks.running
        return StuckError(
            f"{_list(left)} did not drain within {self._drain_within:g} s after the end and was cancelled; "
            "end it yourself, or allow more: session(drain_within=...)",
            left,
        )

    def end(self) -> None:
        """End gracefully: the application sends no more, sources stop, what is under way is finished.

        Returns at once. Go on reading with `async for`, or leave the block to wait until everything has drained.
        """
        self._check_begun()
        self._input_open = False
        self._run.end_with(self._end_now)

    def _end_now(self) -> None:
        if self._state != "running":
            return
        self._close_input()
        for stage in self._run.stages[1:-1]:
            if not stage.node.source or stage.inbox is None:
                continue
            if stage.takes_end():
                stage.inbox.put_end(End(), give=True)
            elif stage.scope is not None:
                stage.scope.cancel()

    async def drained(self) -> None:
        """Send no more, and wait until every source has ended by itself and everything has drained.

        Once the graph has ended, what does not stop is waited for no longer than `drain_within`.
        """
        self._check_begun()
        self._silence()
        self._input_open = False
        self._run.end_with(self._close_input)
        await self._finished.wait()
        with anyio.move_on_after(self._drain_within):
            await self._wait_over()

    async def cancel(self) -> None:
        """Stop now. Finishes within `cancel_within` seconds whatever the processors do.

        Raises `StuckError`, naming them, when some did not stop.
        """
        self._check_begun()
        if anyio.get_current_task().id in self._tasks.ids:
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
        """The current epoch: how many interrupts there have been."""
        return self._run.epoch.number

    async def send(self, frame: Frame) -> None:
        """Put a frame in at the head, and wait until there is room for more.

        A frame that travels upstream goes to every processor that takes it. Media or text that carries an epoch is
        taken for a reply of that epoch. Raises what a fused processor raised, and `SessionError` after the end.
        """
        run = self._run
        if run.entry.owed and isinstance(frame, Frame) and frame.delivery in WAITS:
            await run.pay(run.entry)
        self._feed(frame)
        if run.overfull:
            await run.wait_for_room(run.entry)
            if self._state != "running":
                self._check_open()  # it was not room that the wait ended with
            self._raise_failure()
        else:
            self._streak += 1
            if not self._streak & CHECKPOINT_MASK:
                await checkpoint()

    def offer(self, frame: Frame) -> None:
        """Put a frame in without waiting: where an inbox is full, the oldest is dropped and counted."""
        self._feed(frame)
        self._run.trim()

    def interrupt(self, reason: str = "") -> int:
        """Interrupt: always advances the epoch, and returns the new one. Takes effect before it returns."""
        self._check_running()
        number = self._run.interrupt(reason)
        self._raise_failure()
        return number

    def begin_response(self) -> int:
        """A response is heard that this graph did not make: from now on an automatic interrupt has something to end.

        Returns the epoch that it belongs to.
        """
        self._check_running()
        return self._run.epoch.begin_response()

    def statistics(self) -> SessionStatistics:
        """What has been counted so far, as a frozen snapshot. Also after the end."""
        return self._run.statistics()

    @contextmanager
    def tap(self, observer: Callable[[Hop], None]) -> Iterator[None]:
        """While the block runs, call `observer` with every hop of every frame. Costs nothing when nobody does.

        The observer must not wait, and must not change the frame. One that raises is removed.
        """
        self._run.taps += (observer,)
        try:
            yield
        finally:
            taps = list(self._run.taps)
            if observer in taps:
                taps.remove(observer)
            self._run.taps = tuple(taps)

    def __aiter__(self) -> Self:
        """What leaves the graph, urgent frames first, until it has ended.

        Once somebody iterates, whoever feeds the graph waits for them; before, the newest frames are kept.
        """
        run = self._run
        if run.discarded and not run.read and self._state == "running":
            warnings.warn(
                f"{run.discarded} frames left the graph before anybody read them and were dropped; "
                "read in a task of its own while you send, or allow more: session(outputs=...)",
                RuntimeWarning,
                stacklevel=2,
            )
        run.read = True
        return self

    async def __anext__(self) -> Frame:
        self._check_begun()
        outbox = self._run.exit.inbox
        assert outbox is not None
        try:
            frame: Frame = await outbox.receive()
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
                raise not_begun(frame, run.epoch.number)
            run.epoch.begin_response()
        if frame.delivery is Delivery.LAST:
            self.end()
            return
        run.feed(run.entry, frame)
        self._raise_failure()

    def _check_open(self) -> None:
        self._check_running()
        if not self._input_open:
            raise SessionError("the session has ended; nothing can be sent to it any more")

    def _check_begun(self) -> None:
        if self._state in ("new", "starting"):
            raise SessionError("the session has not begun; use `async with graph.session() as session`")

    def _check_running(self) -> None:
        self._raise_failure()
        self._check_begun()
        if self._state != "running":
            raise SessionError("the session has ended; nothing can be sent to it any more")

    def _raise_failure(self) -> None:
        if self._run.failure is not None:
            raise self._run.failure

    def _close_input(self) -> None:
        if not self._input_closed and self._state == "running":
            self._input_closed = True
            self._run.close_input()

    def _silence(self) -> None:
        """Nobody will read any more: what leaves the graph is discarded, and nothing waits for a reader."""
        run = self._run
        if run.kept and run.exit.inbox is not None:
            run.kept = False
            run.exit.inbox.close()

    def _on_failure(self) -> None:
        self._tasks.cancel()
        self._body.cancel()
        if self._draining is not None:
            self._draining.cancel()
        self._finished.set()
        self._over_without_tasks()

    def _on_finished(self) -> None:
        self._input_open = False
        self._tasks.finish()
        self._finished.set()
        self._over_without_tasks()

    def _on_done(self) -> None:
        """All tasks have ended, the graph with them; whoever reads need not wait for more."""
        assert self._over is not None
        assert self._run.exit.inbox is not None
        self._run.exit.inbox.put_end(End(), give=False)
        self._finished.set()
        self._over.set()

    def _over_without_tasks(self) -> None:
        """A graph with tasks is over when they are; one without, at once."""
        assert self._over is not None
        if not self._tasks.needed:
            self._over.set()

    async def _wait_over(self) -> None:
        assert self._over is not None
        await self._over.wait()

    async def _stop(self) -> StuckError | None:
        """Cancel what still runs and wait for it within the bound, even when the caller is being cancelled.

        Returns what there is to complain of, to the first who asks; others wait until it is known.
        """
        if self._stopped is not None:
            with anyio.CancelScope(shield=True):
                await self._stopped.wait()
            return None
        self._stopped = anyio.Event()
        self._state = "ended"
        self._silence()
        tasks = self._tasks
        try:
            if tasks.needed:
                tasks.cancel()
                with anyio.move_on_after(self._cancel_within, shield=True):
                    await tasks.done()
        finally:  # asyncio's own Task.cancel() goes through a shield
            assert self._over is not None
            self._over.set()
            self._finished.set()
            self._stopped.set()
        stuck = tuple(dict.fromkeys([*tasks.unstoppable, *tasks.running]))
        if not stuck:
            self._release()
            return None
        return StuckError(
            f"{_list(stuck)} did not stop within {self._cancel_within:g} s of being cancelled: it swallows "
            "cancellation or waits in a call that cannot be cancelled. Let the cancellation exception pass; "
            "run blocking calls in a processor with blocking = True",
            stuck,
        )

    def _claim(self) -> None:
        for processor in self.graph.processors:
            if getattr(processor, "_session", None) is not None:
                raise SessionError(
                    f"{processor!r} already runs in another session, and a processor keeps the state of one. "
                    "Build a graph for each session: a function that returns one"
                )
        for processor in self.graph.processors:
            processor._session = self  # type: ignore[attr-defined]

    def _release(self) -> None:
        for processor in self.graph.processors:
            processor._session = None  # type: ignore[attr-defined]


def _note(error: BaseException, stuck: StuckError | None) -> None:
    if stuck is not None:
        error.add_note(f"besides, {stuck}")


def _only(error: BaseException, failure: BaseException) -> bool:
    """Whether an exception is the failure itself, or groups of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(_only(each, failure) for each in error.exceptions)
    return error is failure


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names)) or "the session"
