"""A graph that runs: the epoch, the sweeps through fused processors, and the ways against and across the stream.

Everything here is synchronous. A frame is delivered in a *sweep*: from where it was emitted through all fused
processors below, depth first, until it lies in inboxes or has left the graph. Only then does its sender wait for
room. So no processor is re-entered, and an interrupt takes effect in one step. The tasks are in `_tasks`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from ._epoch import Epoch
from ._gate import Router
from ._plan import Plan
from ._stage import Stage, Unwind, inherit
from .frames import End, Failure, Frame, Interrupt
from .ports import EMIT_LIMIT, Inbox, Outlet, PassThrough, emit_limit_error
from .statistics import Hop, SessionStatistics

if TYPE_CHECKING:
    from ._tasks import Tasks

__all__ = ["Run"]

log = logging.getLogger("bargein")

SAMPLE = 255
"""A bit mask: one sweep in 256 is timed."""

DEEPEST = 200
"""Fused processors in a row before one gets an inbox, so that no sweep comes near Python's recursion limit."""


class Run:
    """One running graph."""

    def __init__(self, plan: Plan, *, capacity: int, outputs: int, fused: bool) -> None:
        self.plan = plan
        self.epoch = Epoch()
        self.overfull: list[Inbox[Any]] = []
        self.taps: tuple[Callable[[Hop], None], ...] = ()
        self.failure: BaseException | None = None
        self.discarded = 0
        self.read = False  # somebody reads what leaves the graph
        self.kept = True  # what leaves the graph is kept for a reader
        self.tasks: Tasks | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.on_finished: Callable[[], None] = lambda: None
        self._sweeping = False
        self._sweeps = 0
        self._left = 0  # frames that the present sweep sent out of the graph
        self._after: deque[Callable[[], None]] = deque()
        self._ending: Callable[[], None] | None = None
        self._replies: dict[anyio.CancelScope, int] = {}
        self.stages: list[Stage] = []
        boxed = _boxed(plan, fused)
        for node in plan.nodes:
            processor = node.processor
            room = outputs if node is plan.exit else None
            if node.index in boxed and processor is not None:
                room = processor.capacity or capacity
            gate = processor if isinstance(processor, Router) else None
            self.stages.append(Stage(self, node, room, gate))
        self.entry, self.exit = self.stages[0], self.stages[-1]
        self.exit.enter = self.leave

    # Delivering ---------------------------------------------------------------------------------------------------

    def feed(self, stage: Stage, frame: Frame) -> None:
        """Deliver what `stage` emits. Inside a sweep it waits for the sweep's end."""
        if self._sweeping:
            self._after.append(lambda: self._port(stage)[type(frame)](frame))
            return
        self._sweep(self._port(stage)[type(frame)], frame)

    def enter(self, stage: Stage, frame: Frame) -> None:
        """Run a plain stage's own step on a frame from its inbox, or let pass what only waited its turn there."""
        stage.counters.frames_in -= 1  # its inbox has counted it, and its step will
        if type(frame) is PassThrough:
            self._sweep(frame.deliver, frame.frame)
        elif self._port(stage) is stage.port:
            self._sweep(stage.body, frame)
        else:
            stage.timed_body = stage.timed_body or stage.timed_step()
            self._sweep(stage.timed_body, frame)

    def _port(self, stage: Stage) -> dict[type[Frame], Callable[[Frame], None]]:
        self._sweeps += 1
        return stage.traced if self.taps or not self._sweeps & SAMPLE else stage.port

    def _sweep(self, deliver: Callable[[Frame], None], frame: Frame) -> None:
        self._sweeping = True
        self._left = 0
        try:
            deliver(frame)
        except Unwind:
            pass
        finally:
            self._sweeping = False
        if self._after:
            self._settle()

    def _settle(self) -> None:
        """Do what the sweep put off.

        It answers urgent and upstream news, so nobody waits for room: an answer may fill an inbox to twice its
        capacity, and then the oldest is dropped. What the end brings out is not dropped, as it comes once.
        """
        waiting, self.overfull[:] = self.overfull[:], []
        rounds = 0
        while self._after and self.failure is None:
            rounds += 1
            if rounds > EMIT_LIMIT:
                self.fail(
                    None, emit_limit_error("do processors answer each other for ever, one upstream and one down?")
                )
            later = self._after.popleft()
            self._sweeping = True
            try:
                later()
            except Unwind:
                pass
            finally:
                self._sweeping = False
            if later is self._ending:
                self.overfull.clear()
            else:
                self.trim(2)
        self._after.clear()
        self.overfull[:] = waiting

    def trim(self, times: int = 1) -> None:
        """Make room by dropping the oldest beyond so many capacities, for what must not wait."""
        while self.overfull and not self._sweeping:  # inside a sweep they are its sender's to wait for
            self.overfull.pop().trim(times)

    async def wait_for_room(self, stage: Stage) -> None:
        """Wait until everything that `stage` has just overfilled has room again.

        When the wait is called off, what was sent is in all the same: the stage owes it, and its next send pays first.
        So the bound holds without anybody's frames being dropped.
        """
        full, self.overfull[:] = self.overfull[:], []
        try:
            for inbox in dict.fromkeys(full):
                await inbox.room()
        except BaseException:
            stage.owed = list(dict.fromkeys((*stage.owed, *full)))
            raise

    async def pay(self, stage: Stage) -> None:
        """Wait for what a send that was called off did not wait for."""
        while stage.owed:
            inbox = stage.owed[0]
            await inbox.room()
            if inbox in stage.owed:
                stage.owed.remove(inbox)

    def leave(self, frame: Frame) -> None:
        """A frame has come out of the graph."""
        outbox = self.exit.inbox
        assert outbox is not None
        self._left += 1
        if self._left > EMIT_LIMIT:
            raise emit_limit_error()
        if not self.kept:
            self.discarded += 1
            return
        outbox.put(frame)
        if not self.read and len(outbox) > outbox.capacity:
            outbox.trim()
            self.discarded += 1
            if self.overfull and self.overfull[-1] is outbox:
                self.overfull.pop()

    # Across and against the stream --------------------------------------------------------------------------------

    def broadcast(self, stage: Stage, frame: Frame) -> None:
        """An urgent frame, to everybody below at once. An automatic interrupt steps the epoch, or is one too many."""
        if type(frame) is Interrupt:
            if not self.epoch.advance(about=frame.epoch, automatic=True):
                return
            frame = frame.stamped(self.epoch.number)
        elif frame.epoch < self.epoch.number:
            stage.counters.stale += 1
            return
        self._spread(stage, frame)

    def interrupt(self, reason: str) -> int:
        """The application's own interrupt: always a step, to everybody."""
        self.epoch.advance(about=self.epoch.number, automatic=False)
        self._spread(self.entry, Interrupt(reason=reason, epoch=self.epoch.number))
        return self.epoch.number

    def _spread(self, stage: Stage, frame: Frame) -> None:
        """One synchronous step: every inbox below, all stale work, then every fused processor below."""
        inboxed, fused = stage.reach(type(frame))
        fused = [target for target in fused if not target.ended]
        if self.taps:
            for target in (*inboxed, *fused):
                self.observe(Hop(anyio.current_time(), stage.name, target.name, frame))
        for target in inboxed:
            if target.inbox is not None and not target.ended:
                target.inbox.put_urgent(frame)
        if type(frame) is Interrupt:
            self._expire()
        if not fused:
            return
        if self._sweeping and stage is not self.entry:
            self._spread_fused(fused, frame)  # the sweep stands above those below its emitter: none is half done
            return
        self._after.append(partial(self._spread_fused, fused, frame))
        if not self._sweeping:
            self._settle()

    def _spread_fused(self, fused: list[Stage], frame: Frame) -> None:
        """All of them first, and only then what they answer: nobody gets an answer before the question."""
        answers: list[tuple[Stage, list[Frame]]] = []
        for target in fused:
            target.counters.frames_in += 1
            try:
                answers.append((target, list(target.outputs(frame))))
            except Exception as error:
                self.failed(target, error, frame)
        for target, frames in answers:
            try:
                for out in frames:
                    deliver = target.port[type(out)]
                    target.counters.frames_out += 1
                    deliver(inherit(out, frame.epoch) if out.epoch > frame.epoch else out)
            except Exception as error:
                self.failed(target, error, frame)

    def _expire(self) -> None:
        """Free what waits on stale frames, all over the session. Comparison would do; this is sooner."""
        number = self.epoch.number
        for stage in self.stages:
            if stage.inbox is not None:
                stage.inbox.expire()
            if stage.working is not None and stage.working[0] < number:
                stage.working[1].cancel()
        for scope, epoch in list(self._replies.items()):
            if epoch < number:
                scope.cancel()

    def end_replies(self) -> None:
        """Call off every reply."""
        for scope in list(self._replies):
            scope.cancel()

    def send_up(self, stage: Stage, frame: Frame) -> None:
        """To everybody above that takes it; else out of the graph at its upper edge."""
        kind = type(frame)
        nodes = self.plan.processors if stage is self.entry else self.plan.above(stage.node)
        targets = [self.stages[node.index] for node in nodes if node.contract and node.accepts(kind)]
        if self.taps:
            for target in targets or [self.exit]:
                self.observe(Hop(anyio.current_time(), stage.name, target.name, frame))
        for target in targets:
            if target.inbox is not None:
                target.inbox.put_news(frame)
            else:
                self._after.append(partial(target.enter, frame))
        if not targets:
            self.leave(frame)
        if self._after and not self._sweeping:
            self._settle()

    # Ends and failures --------------------------------------------------------------------------------------------

    def end(self, stage: Stage) -> None:
        """Nothing more comes from `stage`; those below end when all above them have."""
        if stage.ended:
            return
        stage.stop()
        for node in stage.node.after:
            below = self.stages[node.index]
            below.open -= 1
            if not below.open:
                self._end_reached(below)

    def _end_reached(self, stage: Stage) -> None:
        if stage is self.exit:
            assert stage.inbox is not None
            stage.inbox.put_end(End(), give=False)
            self.on_finished()
        elif stage.returned:
            self.end(stage)
        elif stage.node.source and not stage.takes_end():
            pass  # what ended above fed it nothing: it ends by itself, or with the session
        elif stage.inbox is not None:
            stage.inbox.put_end(End(), give=stage.takes_end())
        else:
            if stage.takes_end() and not stage.ended:
                stage.enter(End())
            self.end(stage)

    def close_input(self) -> None:
        """The application sends no more: its branch ends for every head that is not a source of its own."""
        for node in self.plan.entry.after:
            stage = self.stages[node.index]
            stage.open -= 1
            if not stage.open and not node.source:
                self._sweep(lambda _, stage=stage: self._end_reached(stage), End())  # type: ignore[misc]

    def end_with(self, action: Callable[[], None]) -> None:
        """Do what ends the input now, or at the end of the sweep that is under way."""
        self._ending = action
        self._after.append(action)
        if not self._sweeping:
            self._settle()

    def finish(self, stage: Stage) -> None:
        """`end`, from outside a sweep. A source in the middle lets what is above it end first."""
        if stage.node.source and stage.open and self.plan.entry not in stage.node.before:
            stage.returned = True
            return
        if self._sweeping:
            self._after.append(partial(self.end, stage))
            return
        self._sweep(lambda _: self.end(stage), End())

    def failed(self, stage: Stage, error: BaseException, frame: Frame | None = None) -> None:
        """A processor raised. Returns when the session goes on without the frame; else unwinds the sweep."""
        if isinstance(error, Unwind):
            raise error
        # A reply that fails is lost like a frame that does; the loop that began it goes on.
        policies = ("drop",) if frame is not None else ("drop", "restart")
        if stage.processor is not None and stage.processor.on_error in policies and isinstance(error, Exception):
            stage.counters.error += 1
            self.report(stage, error, f"dropped {type(frame).__name__}" if frame is not None else "lost a reply")
            return
        self.fail(stage, error, frame)
        raise Unwind

    def report(self, stage: Stage, error: BaseException, what: str) -> None:
        """Tell those above, and the log, of an exception that the session survives."""
        message = f"{stage.name} {what}: {type(error).__name__}: {error}"
        log.warning("%s", message)
        failure = Failure(message=message, processor=stage.name, error=error)
        self._after.append(partial(self.send_up, stage, failure))
        if not self._sweeping:
            self._settle()

    def fail(self, stage: Stage | None, error: BaseException, frame: Frame | None = None) -> None:
        """A processor raised and its policy is to end the session. The first failure is the one that counts."""
        if stage is not None:
            on = f" on {type(frame).__name__}" if frame is not None else ""
            error.add_note(f"in processor {stage.name!r}{on}")
        if self.failure is None:
            self.failure = error
            self.on_failure()

    # Observing ----------------------------------------------------------------------------------------------------

    def observe(self, hop: Hop) -> None:
        """Show a hop to every observer. One that raises is removed: it must not harm the session."""
        for tap in self.taps:
            try:
                tap(hop)
            except Exception:
                log.exception("an observer raised and was removed: %r", tap)
                self.taps = tuple(each for each in self.taps if each is not tap)

    def statistics(self) -> SessionStatistics:
        """Everything countable, frozen."""
        return SessionStatistics(
            epoch=self.epoch.number,
            interrupts=self.epoch.steps,
            coalesced=self.epoch.coalesced,
            discarded=self.discarded,
            tasks=self.tasks.count if self.tasks else 0,
            processors={stage.name: stage.statistics() for stage in self.stages[1:-1]},
        )

    def start_reply(
        self,
        stage: Stage,
        reply: Outlet[Any],
        function: Callable[..., Coroutine[Any, Any, None]],
        args: tuple[Any, ...],
    ) -> None:
        """Start a task for a response; see `Outlet.respond`."""
        assert self.tasks is not None
        self.tasks.start_reply(stage, reply, function, args, self._replies)


def _boxed(plan: Plan, fused: bool) -> set[int]:
    """Which nodes get an inbox and a task: those that wait, and one in every so many fused ones in a row."""
    boxed: set[int] = set()
    depth = [0] * len(plan.nodes)
    for node in plan.processors:
        deep = max(depth[before.index] for before in node.before) + 1
        if node.plain and fused and deep <= DEEPEST:
            depth[node.index] = deep
        else:
            boxed.add(node.index)
    return boxed
