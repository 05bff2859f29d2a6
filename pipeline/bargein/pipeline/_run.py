"""A graph that runs: its stages, its epoch, how branches end, and what a processor's exception does.

Everything here is synchronous. Sweeps are in `_sweep`, interrupts in `_interrupts`, tasks in `_tasks`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio

from ._delivery import connect
from ._epoch import Epoch
from ._inbox import Inbox
from ._interrupts import Interrupts
from ._limits import EMIT_LIMIT, emit_limit_error
from ._outlet import Outlet
from ._plan import Plan
from ._stage import Stage, Unwind
from ._sweep import Sweeper
from .frames import End, Failure, Frame
from .statistics import Hop, SessionStatistics

__all__ = ["Run", "StartReply"]

log = logging.getLogger("bargein")

MAX_FUSED_DEPTH = 200
"""Maximum number of fused processors in a row. The next one gets an inbox, so that no sweep comes near Python's
recursion limit of 1000; each fused processor takes two to three levels."""

StartReply = Callable[
    [Stage, Outlet[Any], Callable[..., Coroutine[Any, Any, None]], tuple[Any, ...], dict[anyio.CancelScope, int]], None
]
"""How the tasks start a response: stage, outlet, function, arguments, and where to register its scope and epoch."""


class Run:
    """One running graph.

    Args:
        plan: The graph, laid flat and checked.
        capacity: How many frames an inbox holds, unless its processor says otherwise.
        output_capacity: How many frames wait for the reader of the session.
        fused: Whether sync processors run in their sender's task. If not, each has an inbox and a task.
    """

    def __init__(self, plan: Plan, *, capacity: int, output_capacity: int, fused: bool) -> None:
        self.plan = plan
        self.epoch = Epoch()
        self.taps: tuple[Callable[[Hop], None], ...] = ()
        self.failure: BaseException | None = None
        self.discarded = 0
        self.is_read = False  # a reader iterates over what leaves the graph
        self.keeps_output = True  # what leaves the graph is kept for a reader
        self.on_failure: Callable[[], None] = lambda: None
        self.on_finished: Callable[[], None] = lambda: None
        self.count_tasks: Callable[[], int] = lambda: 0
        self.reply_starter: StartReply | None = None
        self.sweeper = Sweeper(self)
        self.interrupts = Interrupts(self)
        # Bound once here, as one attribute look-up less on each send.
        self.overfull = self.sweeper.overfull
        self.feed: Callable[[Stage, Frame], None] = self.sweeper.feed
        self.trim: Callable[[], None] = self.sweeper.trim
        self.wait_for_room = self.sweeper.wait_for_room
        self.pay = self.sweeper.pay
        self.broadcast = self.interrupts.broadcast
        self.stages: list[Stage] = []
        with_inbox = _nodes_with_inbox(plan, fused)
        for node in plan.nodes:
            room = output_capacity if node is plan.exit else None
            if node.index in with_inbox and node.processor is not None:
                room = node.processor.capacity or capacity
            self.stages.append(Stage(node, room, self.epoch, self.overfull))
        for stage in self.stages:
            connect(self, stage)
        self.entry, self.exit = self.stages[0], self.stages[-1]
        self.exit.enter = self.leave

    @property
    def output(self) -> Inbox[Any]:
        """The frames that have left the graph, for the reader of the session."""
        assert self.exit.inbox is not None
        return self.exit.inbox

    def leave(self, frame: Frame) -> None:
        """Take a frame out of the graph."""
        sweeper, output = self.sweeper, self.output
        sweeper.left += 1
        if sweeper.left > EMIT_LIMIT:
            raise emit_limit_error()
        if not self.keeps_output:
            self.discarded += 1
            return
        output._put(frame)
        # Nobody reads, so nobody would make room. A session that is only listened to by its sink must not stop for
        # that.
        if not self.is_read and len(output) > output.capacity:
            output._trim()
            self.discarded += 1
            if self.overfull and self.overfull[-1] is output:
                self.overfull.pop()

    def send_up(self, stage: Stage, frame: Frame) -> None:
        """Deliver to every processor above that takes the frame, or out of the graph when none does."""
        kind = type(frame)
        # What the application sends upstream is for all: it stands above and below everything.
        nodes = self.plan.processors if stage is self.entry else self.plan.above(stage.node)
        targets = [self.stages[node.index] for node in nodes if node.contract and node.accepts(kind)]
        if self.taps:
            for target in targets or [self.exit]:
                self.observe(Hop(anyio.current_time(), stage.name, target.name, frame))
        for target in targets:
            if target.inbox is not None:
                target.inbox._put_upstream(frame)
            else:
                # The processor above may be the one that is in the middle of its generator.
                self.sweeper.defer(partial(target.enter, frame))
        if not targets:
            self.leave(frame)
        self.sweeper.settle()

    def has_taker(self, stage: Stage, kind: type[Frame]) -> bool:
        """Return whether a processor above takes an upstream class. Adapters, which take everything, do not count."""
        takers = (node.processor for node in self.plan.above(stage.node) if node.contract and node.accepts(kind))
        return any(processor is not None and not processor.is_adapter for processor in takers)

    def start_reply(
        self,
        stage: Stage,
        reply: Outlet[Any],
        function: Callable[..., Coroutine[Any, Any, None]],
        args: tuple[Any, ...],
    ) -> None:
        """Start a task for a response; see `Outlet.respond`."""
        assert self.reply_starter is not None
        self.reply_starter(stage, reply, function, args, self.interrupts.replies)

    # Ends ---------------------------------------------------------------------------------------------------------

    def end(self, stage: Stage) -> None:
        """End a stage. The stages below end when all stages above them have."""
        if stage.ended:
            return
        # First, so that what is emitted from now on is counted as late and cannot reach a stage that has ended.
        stage.stop()
        for node in stage.node.after:
            below = self.stages[node.index]
            below.open_branches -= 1
            if not below.open_branches:
                self._end_arrived(below)

    def _end_arrived(self, stage: Stage) -> None:
        """Handle that everything above a stage has ended."""
        if stage is self.exit:
            self.output._put_end(End(), deliver=False)
            self.on_finished()
        elif stage.returned:
            self.end(stage)
        elif stage.node.source and not stage.takes_end:
            pass  # the stages above fed it nothing: it ends by itself, or with the session
        elif stage.inbox is not None:
            stage.inbox._put_end(End(), deliver=stage.takes_end)
        else:
            # It emits what it still holds, and only then the end goes on.
            if stage.takes_end and not stage.ended:
                stage.enter(End())
            self.end(stage)

    def close_input(self) -> None:
        """End the application's branch, for every head that is not a source itself."""
        for node in self.plan.entry.after:
            stage = self.stages[node.index]
            stage.open_branches -= 1
            if not stage.open_branches and not node.source:
                self.sweeper.run(lambda _, stage=stage: self._end_arrived(stage), End())  # type: ignore[misc]

    def finish(self, stage: Stage) -> None:
        """End a stage whose task is done. A source in the middle lets the stages above it end first."""
        # Without this, a source that stops early would end the stages below while those above still send.
        if stage.node.source and stage.open_branches and self.plan.entry not in stage.node.before:
            stage.returned = True
            return
        if self.sweeper.active:
            self.sweeper.defer(partial(self.end, stage))
            return
        self.sweeper.run(lambda _: self.end(stage), End())

    # Failures -----------------------------------------------------------------------------------------------------

    def failed(self, stage: Stage, error: BaseException, frame: Frame | None = None) -> None:
        """Handle an exception of a processor by its policy.

        Returns when the session continues without the frame, and raises `Unwind` when the session has failed.
        """
        if isinstance(error, Unwind):
            raise error
        # A failing reply is lost as a failing frame is; the loop that began it continues, so "restart" applies as well.
        policies = ("drop",) if frame is not None else ("drop", "restart")
        if stage.processor is not None and stage.processor.on_error in policies and isinstance(error, Exception):
            stage.counters.error += 1
            self.report(stage, error, f"dropped {type(frame).__name__}" if frame is not None else "lost a reply")
            return
        self.fail(stage, error, frame)
        raise Unwind

    def report(self, stage: Stage, error: BaseException, what: str) -> None:
        """Report an exception that the session survives: to the log, and as a `Failure` to the processors above."""
        message = f"{stage.name} {what}: {type(error).__name__}: {error}"
        log.warning("%s", message)
        self.sweeper.defer(partial(self.send_up, stage, Failure(message, stage.name, error)))
        self.sweeper.settle()

    def fail(self, stage: Stage | None, error: BaseException, frame: Frame | None = None) -> None:
        """End the session with an exception, noting the processor. Only the first failure counts."""
        if stage is not None:
            on = f" on {type(frame).__name__}" if frame is not None else ""
            error.add_note(f"in processor {stage.name!r}{on}")
        # Later exceptions are mostly consequences of the first: tasks that are cancelled, streams that close.
        if self.failure is None:
            self.failure = error
            self.on_failure()

    # Observation --------------------------------------------------------------------------------------------------

    def observe(self, hop: Hop) -> None:
        """Show a hop to every observer. One that raises is removed, because it must not harm the session."""
        for tap in self.taps:
            try:
                tap(hop)
            except Exception:
                log.exception("an observer raised and was removed: %r", tap)
                self.taps = tuple(each for each in self.taps if each is not tap)

    def statistics(self) -> SessionStatistics:
        """Return all counters, frozen."""
        return SessionStatistics(
            epoch=self.epoch.number,
            interrupts=self.epoch.steps,
            coalesced=self.epoch.coalesced,
            discarded=self.discarded,
            tasks=self.count_tasks(),
            processors={stage.name: stage.statistics() for stage in self.stages[1:-1]},
        )


def _nodes_with_inbox(plan: Plan, fused: bool) -> set[int]:
    """Return the nodes that get an inbox and a task: all that are not fused, and some in a long row of fused ones."""
    with_inbox: set[int] = set()
    depths = [0] * len(plan.nodes)
    for node in plan.processors:
        depth = max(depths[before.index] for before in node.before) + 1
        if node.fused and fused and depth <= MAX_FUSED_DEPTH:
            depths[node.index] = depth
        else:
            with_inbox.add(node.index)
    return with_inbox
