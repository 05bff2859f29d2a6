"""The hot path: compiled delivery tables and steps.

A table maps a frame's class to one function that delivers the frame to the stages that take it. Between fused
processors that function *is* the next processor's step, so a hop costs a dictionary look-up, a call and a generator.
Everything rare (urgent and upstream frames, ends, broken promises) is decided when a table entry is compiled, and costs
other frames nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Protocol

import anyio

from ._contract import ProcessorKind, names
from ._epoch import Epoch
from ._inbox import PassThrough
from ._plan import Node, Plan
from ._stage import Deliver, DeliveryTable, Stage, inherit
from .errors import ContractError
from .frames import LIVE, Delivery, Frame
from .statistics import Hop

__all__ = ["DeliveryHost", "connect", "observed_step"]


class DeliveryHost(Protocol):
    """What delivery asks of the run."""

    plan: Plan
    stages: list[Stage]
    epoch: Epoch
    taps: tuple[Callable[[Hop], None], ...]

    def broadcast(self, stage: Stage, frame: Frame) -> None:
        """Deliver an urgent frame."""

    def send_up(self, stage: Stage, frame: Frame) -> None:
        """Deliver an upstream frame."""

    def end(self, stage: Stage) -> None:
        """End a stage."""

    def leave(self, frame: Frame) -> None:
        """Take a frame out of the graph."""

    def failed(self, stage: Stage, error: BaseException, frame: Frame | None = None) -> None:
        """Handle an exception of a processor."""

    def observe(self, hop: Hop) -> None:
        """Show a hop to the observers."""


def connect(host: DeliveryHost, stage: Stage) -> None:
    """Set the delivery tables, the step and the entrance of a stage."""
    stage.table = DeliveryTable(lambda kind: _compile(host, stage, kind, observed=False))
    stage.observed_table = DeliveryTable(lambda kind: _compile(host, stage, kind, observed=True))
    stage.step = _compile_step(host, stage)
    stage.enter = stage.inbox._put if stage.inbox is not None else stage.step


def observed_step(host: DeliveryHost, stage: Stage) -> Deliver:
    """Return a stage's step that is timed, and that delivers through the observed table."""
    if stage.observed_step is None:
        stage.observed_step = _compile_observed_step(host, stage)
    return stage.observed_step


def _compile(host: DeliveryHost, stage: Stage, kind: type[Frame], *, observed: bool) -> Deliver:
    """Return the function that delivers frames of one class which `stage` emits."""
    if not (isinstance(kind, type) and issubclass(kind, Frame)):
        raise ContractError(f"{stage.name!r} emitted a {kind.__name__}, which is not a Frame")
    if stage.contract is not None and not stage.contract.promises(kind):
        raise ContractError(
            f"{stage.name!r} emitted {kind.__name__}, but its annotations declare "
            f"{names(stage.contract.gives)}; add {kind.__name__} to them"
        )
    # Upstream frames are delivered until the graph has ended.
    if stage.ended and kind.delivery is not Delivery.UPSTREAM:
        return lambda _: _count_late(stage)
    if kind.delivery is Delivery.URGENT:
        return lambda frame: host.broadcast(stage, frame)
    if kind.delivery is Delivery.UPSTREAM:
        return lambda frame: host.send_up(stage, frame)
    if kind.delivery is Delivery.LAST:
        return lambda _: host.end(stage)
    if stage.router is not None:
        return _compile_switch(host, stage, kind, observed)
    return _compile_fan(host, stage, stage.node.after, kind, observed)


def _compile_fan(host: DeliveryHost, stage: Stage, heads: list[Node], kind: type[Frame], observed: bool) -> Deliver:
    """Return delivery to all stages behind `heads` that take this class."""
    enters: list[Deliver] = []
    for node, bypassed in host.plan.routes(heads, kind).items():
        target = host.stages[node.index]
        enter = _observed_enter(host, target, stage.name) if observed else target.enter
        for each in reversed(bypassed):
            between = host.stages[each.index]
            # A fused processor with an inbox is only scheduled otherwise: a frame that bypasses it waits its turn.
            if between.inbox is not None and each.fused:
                enter = _enter_through(between, enter)
        enters.append(enter)
    # One target is the usual case. Without the loop below, a hop costs one call less.
    if len(enters) == 1:
        return enters[0]

    def deliver(frame: Frame) -> None:
        for enter in enters:
            enter(frame)

    return deliver


def _compile_switch(host: DeliveryHost, stage: Stage, kind: type[Frame], observed: bool) -> Deliver:
    """Return delivery to the branch that the stage's router chooses for each frame."""
    router = stage.router
    assert router is not None
    # The branches are compiled once, here. For each frame only the choice is left.
    branches: dict[str, Deliver] = {}
    for name, branch in router.branches.items():
        inside = getattr(branch, "processors", (branch,))  # a graph's, or the one
        heads = [head for head in stage.node.after if head.processor in inside]
        branches[name] = _compile_fan(host, stage, heads, kind, observed)

    def deliver(frame: Frame) -> None:
        branches[router.choose(frame)](frame)

    return deliver


def _enter_through(stage: Stage, enter: Deliver) -> Deliver:
    """Return delivery that waits its turn in the inbox of a stage that does not take the frame."""
    inbox = stage.inbox
    assert inbox is not None
    put = inbox._put

    def deliver(frame: Frame) -> None:
        put(PassThrough(frame=frame, deliver=enter, epoch=frame.epoch))

    return deliver


def _observed_enter(host: DeliveryHost, target: Stage, source: str) -> Deliver:
    """Return delivery to a stage that is seen by the observers and timed."""
    name = target.name
    enter = target.enter if target.inbox is not None else observed_step(host, target)

    def deliver(frame: Frame) -> None:
        if host.taps:
            host.observe(Hop(anyio.current_time(), source, name, frame))
        enter(frame)

    return deliver


def _count_late(stage: Stage) -> None:
    stage.counters.late += 1


def _process_of(stage: Stage) -> Callable[[Frame], Any] | None:
    """Return the processor's own generator function, if it has one."""
    if stage.contract is None or stage.contract.kind is not ProcessorKind.SYNC:
        return None
    process: Callable[[Frame], Any] = stage.processor.process
    return process


def _compile_step(host: DeliveryHost, stage: Stage) -> Deliver:
    """Return the step of a sync processor: stale check, its generator, and on to its table.

    It is not split into smaller functions, because each call would cost as much as the rest of the hop.
    """
    process, table = _process_of(stage), stage.table
    counters, epoch, failed = stage.counters, host.epoch, host.failed
    if process is None:
        return host.leave
    # A processor that sends nothing, such as a sink, returns None and not a generator, so it is not iterated.
    if not stage.produces:

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
            # Output inherits the epoch of its cause. A live frame is the usual cause and has nothing to pass on, so
            # this branch saves the comparison for each output.
            if cause == LIVE:
                for out in process(frame):
                    counters.frames_out += 1
                    table[type(out)](out)
            else:
                for out in process(frame):
                    counters.frames_out += 1
                    deliver = table[type(out)]  # first, because it raises for what is not a frame
                    if out.epoch > cause:
                        out = inherit(out, cause)
                    deliver(out)
        except Exception as error:
            failed(stage, error, frame)

    return step


def _compile_observed_step(host: DeliveryHost, stage: Stage) -> Deliver:
    """Return the step as `_compile_step` does, timed, and on to the observed table."""
    if _process_of(stage) is None:
        return host.leave
    process, counters, table = stage.outputs, stage.counters, stage.observed_table
    epoch, failed = host.epoch, host.failed

    def step(frame: Frame) -> None:
        if frame.epoch < epoch.number:
            counters.stale += 1
            return
        counters.frames_in += 1
        counters.timed += 1
        began = perf_counter_ns()
        try:
            for out in process(frame):
                # The clock stops while an output is delivered, so that the processors below are not counted here.
                counters.timed_ns += perf_counter_ns() - began
                counters.frames_out += 1
                deliver = table[type(out)]
                if out.epoch > frame.epoch:
                    out = inherit(out, frame.epoch)
                deliver(out)
                began = perf_counter_ns()
        except Exception as error:
            failed(stage, error, frame)
        counters.timed_ns += perf_counter_ns() - began

    return step
