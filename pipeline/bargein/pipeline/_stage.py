"""A node of a running graph: its counters, its inbox if it has one, and its compiled delivery tables.

This is the hot path. A table maps a frame's class to one function, made when the class is first seen, that delivers
the frame to whoever takes it; between fused processors that function *is* the next processor's step, so a hop costs
a dictionary look-up, a call and a generator. All that is rare (urgent, upstream, end; broken promises) is decided
when a table entry is made, and costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import isgeneratorfunction
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import anyio

from ._contract import ProcessorKind, names
from ._plan import Node
from .errors import ContractError
from .frames import LIVE, Delivery, End, Frame
from .ports import Inbox, PassThrough
from .statistics import Counters, Hop, ProcessorStatistics

if TYPE_CHECKING:
    from ._gate import Router
    from ._run import Run

__all__ = ["Port", "Stage", "Unwind", "inherit"]

Deliver = Callable[[Frame], None]


class Unwind(Exception):  # noqa: N818 - a signal, not an error
    """The session has failed: leave the sweep. The failure itself is kept by the run."""


class Port(dict[type[Frame], Deliver]):
    """A delivery table: frame class to function. Entries are made on first use."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[type[Frame]], Deliver]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, kind: type[Frame]) -> Deliver:
        deliver = self[kind] = self.make(kind)
        return deliver


class Stage:
    """A node while it runs."""

    __slots__ = (
        "body",
        "contract",
        "counters",
        "ended",
        "enter",
        "gate",
        "inbox",
        "name",
        "node",
        "open",
        "owed",
        "port",
        "processor",
        "produces",
        "reached",
        "replies_done",
        "returned",
        "run",
        "scope",
        "timed_body",
        "traced",
        "working",
    )

    def __init__(self, run: Run, node: Node, capacity: int | None, gate: Router | None) -> None:
        self.run = run
        self.node = node
        self.name = node.name
        self.processor: Any = node.processor
        self.contract = node.contract
        self.counters = Counters()
        self.gate = gate
        contract = node.contract
        self.produces = contract is not None and (
            bool(contract.gives) or isgeneratorfunction(getattr(node.processor, "process", None))
        )
        self.owed: list[Inbox[Any]] = []  # inboxes it overfilled without waiting for room
        self.open = len(node.before)  # branches above that have not ended
        self.ended = False
        self.returned = False  # a source that has ended before those above it
        self.scope: anyio.CancelScope | None = None  # of its whole task
        self.working: tuple[int, anyio.CancelScope] | None = None  # what waits on an expiring frame now
        self.replies_done: anyio.Event | None = None
        self.reached: dict[type[Frame], tuple[list[Stage], list[Stage]]] = {}
        self.inbox: Inbox[Any] | None = None
        if capacity is not None:
            self.inbox = Inbox(run.epoch, self.counters, capacity, run.overfull)
        self.port = Port(lambda kind: self._route(kind, traced=False))
        self.traced = Port(lambda kind: self._route(kind, traced=True))
        self.body: Deliver = self._step()
        self.timed_body: Deliver | None = None  # the same under observation, made when it is needed
        self.enter: Deliver = self.inbox.put if self.inbox is not None else self.body

    # Compiling ----------------------------------------------------------------------------------------------------

    def _route(self, kind: type[Frame], *, traced: bool) -> Deliver:
        """How this stage delivers a frame of this class."""
        if not (isinstance(kind, type) and issubclass(kind, Frame)):
            raise ContractError(f"{self.name!r} emitted a {kind.__name__}, which is not a Frame")
        if self.contract is not None and not self.contract.promises(kind):
            raise ContractError(
                f"{self.name!r} emitted {kind.__name__}, but its annotations say that it gives "
                f"{names(self.contract.gives)}; add {kind.__name__} to them"
            )
        run = self.run
        if self.ended and kind.delivery is not Delivery.UPSTREAM:  # that is heard until the graph has ended
            return self._drop_late
        if kind.delivery is Delivery.URGENT:
            return lambda frame: run.broadcast(self, frame)
        if kind.delivery is Delivery.UPSTREAM:
            return lambda frame: run.send_up(self, frame)
        if kind.delivery is Delivery.LAST:
            return lambda _: run.end(self)
        if self.gate is not None:
            return self._switch(kind, traced)
        return self._fan(self.node.after, kind, traced)

    def _fan(self, heads: list[Node], kind: type[Frame], traced: bool) -> Deliver:
        """Deliver to all who take this class behind `heads`."""
        enters: list[Deliver] = []
        for node, passed in self.run.plan.ways(heads, kind).items():
            target = self.run.stages[node.index]
            enter = target.watched(self.name) if traced else target.enter
            for each in reversed(passed):
                station = self.run.stages[each.index]
                if station.inbox is not None and each.plain:  # fused, it would let the frame pass in its turn
                    enter = station.carrying(enter)
            enters.append(enter)
        if len(enters) == 1:
            return enters[0]

        def deliver(frame: Frame) -> None:
            for enter in enters:
                enter(frame)

        return deliver

    def _switch(self, kind: type[Frame], traced: bool) -> Deliver:
        gate, node = self.gate, self.node
        assert gate is not None
        ways: dict[str, Deliver] = {}
        for branch in gate.branches:
            inside = leaves_of(gate.branches[branch])
            ways[branch] = self._fan([head for head in node.after if head.processor in inside], kind, traced)

        def deliver(frame: Frame) -> None:
            ways[gate.choose(frame)](frame)

        return deliver

    def carrying(self, enter: Deliver) -> Deliver:
        """Delivery that waits its turn in this stage's inbox, though the stage does not take the frame.

        A plain processor with an inbox of its own is only scheduled otherwise: nothing may overtake it.
        """
        inbox = self.inbox
        assert inbox is not None
        put = inbox.put

        def deliver(frame: Frame) -> None:
            put(PassThrough(frame=frame, deliver=enter, epoch=frame.epoch))

        return deliver

    def _drop_late(self, _: Frame) -> None:
        self.counters.late += 1

    def _step(self) -> Deliver:
        """The compiled step of a plain processor: stale check, its generator, and on to its table.

        Not split into smaller functions, because each call would cost as much as the rest of the hop.
        """
        process, port = self._process(), self.port
        counters, epoch, failed = self.counters, self.run.epoch, self.run.failed
        if process is None:
            return self._leave
        stage = self
        if not self.produces:

            def swallow(frame: Frame) -> None:
                if frame.epoch < epoch.number:
                    counters.stale += 1
                    return
                counters.frames_in += 1
                try:
                    process(frame)
                except Exception as error:
                    failed(stage, error, frame)

            return swallow

        def step(frame: Frame) -> None:
            cause = frame.epoch
            if cause < epoch.number:
                counters.stale += 1
                return
            counters.frames_in += 1
            try:
                if cause == LIVE:
                    for out in process(frame):
                        counters.frames_out += 1
                        port[type(out)](out)
                else:
                    for out in process(frame):
                        counters.frames_out += 1
                        deliver = port[type(out)]  # first, as it complains of what is no frame
                        if out.epoch > cause:
                            out = inherit(out, cause)
                        deliver(out)
            except Exception as error:
                failed(stage, error, frame)

        return step

    def _process(self) -> Callable[[Frame], Any] | None:
        """The processor's own generator function, if it has one."""
        if self.contract is None or self.contract.kind is not ProcessorKind.SYNC:
            return None
        process: Callable[[Frame], Any] = self.processor.process
        return process

    def _leave(self, frame: Frame) -> None:
        self.run.leave(frame)

    def watched(self, source: str) -> Deliver:
        """The same delivery, seen by the observers and timed."""
        run, name = self.run, self.name
        enter = self.enter if self.inbox is not None else self.timed_step()

        def deliver(frame: Frame) -> None:
            if run.taps:
                run.observe(Hop(anyio.current_time(), source, name, frame))
            enter(frame)

        return deliver

    def outputs(self, frame: Frame) -> Iterable[Any]:
        """What its `process` makes of a frame. What a sink returns is nobody's business."""
        made = self.processor.process(frame)
        return made if self.produces else ()

    def timed_step(self) -> Deliver:
        """The step as `_step` compiles it, timed, and on to the table that is observed."""
        if self._process() is None:
            return self._leave
        process, counters, port = self.outputs, self.counters, self.traced
        epoch, failed = self.run.epoch, self.run.failed

        def step(frame: Frame) -> None:
            if frame.epoch < epoch.number:
                counters.stale += 1
                return
            counters.frames_in += 1
            counters.timed += 1
            began = perf_counter_ns()
            try:
                for out in process(frame):
                    counters.timed_ns += perf_counter_ns() - began
                    counters.frames_out += 1
                    deliver = port[type(out)]
                    if out.epoch > frame.epoch:
                        out = inherit(out, frame.epoch)
                    deliver(out)
                    began = perf_counter_ns()
            except Exception as error:
                failed(self, error, frame)
            counters.timed_ns += perf_counter_ns() - began

        return step

    # Running ------------------------------------------------------------------------------------------------------

    def reach(self, kind: type[Frame]) -> tuple[list[Stage], list[Stage]]:
        """Who below takes an urgent class: those with an inbox, and the fused ones, in order."""
        reached = self.reached.get(kind)
        if reached is None:
            below = [self.run.stages[node.index] for node in self.run.plan.below(self.node) if node.accepts(kind)]
            reached = self.reached[kind] = (
                [stage for stage in below if stage.inbox is not None],
                [stage for stage in below if stage.inbox is None],
            )
        return reached

    def not_a_frame(self, value: object) -> ContractError:
        """The error for emitting something that is no frame."""
        return ContractError(f"{self.name!r} emitted {type(value).__name__} {value!r:.60}, which is not a Frame")

    def stop(self) -> None:
        """Nothing it emits goes anywhere any more."""
        self.ended = True
        self.port.clear()
        self.traced.clear()

    def takes_end(self) -> bool:
        """Whether it wants to see the end, to give what it still holds."""
        return self.contract is not None and self.contract.accepts(End)

    def statistics(self) -> ProcessorStatistics:
        """Its counters, frozen."""
        counters = self.counters
        spent = counters.busy * 1000 + counters.timed_ns / 1e6
        if counters.timed:
            spent *= counters.frames_in / counters.timed
        return ProcessorStatistics(
            name=self.name,
            frames_in=counters.frames_in,
            frames_out=counters.frames_out,
            stale_dropped=counters.stale,
            overflow_dropped=counters.overflow,
            late_dropped=counters.late,
            error_dropped=counters.error,
            restarts=counters.restarts,
            waiting=len(self.inbox) if self.inbox is not None else 0,
            inbox_peak=counters.peak,
            replies=counters.replies,
            busy_ms=spent,
            own=self.processor.statistics(),
        )

    def __repr__(self) -> str:
        return f"<Stage {self.name}>"


def inherit(frame: Frame, cause: int) -> Frame:
    """What a frame caused does not outlive it; news never expires."""
    return frame.stamped(cause) if frame.delivery in (Delivery.STREAM, Delivery.URGENT) else frame


def leaves_of(processor: Any) -> tuple[Any, ...]:
    """The processors at which a branch may begin: itself, or a graph's."""
    return getattr(processor, "processors", (processor,))
