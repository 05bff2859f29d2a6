"""Interrupts and other urgent frames: to every processor below, in one synchronous step."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import anyio

from ._delivery import DeliveryHost
from ._stage import Stage, inherit
from ._sweep import Sweeper
from .frames import Frame, Interrupt
from .statistics import Hop

__all__ = ["InterruptHost", "Interrupts"]


class InterruptHost(DeliveryHost, Protocol):
    """What interrupts ask of the run."""

    sweeper: Sweeper
    entry: Stage


class Interrupts:
    """Advances the epoch, spreads urgent frames, and cancels the work that an interrupt expires."""

    def __init__(self, host: InterruptHost) -> None:
        self._host = host
        self.replies: dict[anyio.CancelScope, int] = {}
        """The scope of each running reply, with the epoch in which it began."""

    def broadcast(self, stage: Stage, frame: Frame) -> None:
        """Spread an urgent frame that a processor emitted. An interrupt with a cause already served does nothing."""
        epoch = self._host.epoch
        if type(frame) is Interrupt:
            # The engine numbers interrupts: two processors that notice the same speech must not count it twice.
            if not epoch.advance(about=frame.epoch, automatic=True):
                return
            frame = frame.stamped(epoch.number)
        # A hold that belongs to an interrupted reply has nothing left to hold.
        elif frame.epoch < epoch.number:
            stage.counters.stale += 1
            return
        self._spread(stage, frame)

    def interrupt(self, reason: str) -> int:
        """Interrupt for the application: always advance the epoch, and return the new one."""
        epoch = self._host.epoch
        epoch.advance(about=epoch.number, automatic=False)
        self._spread(self._host.entry, Interrupt(reason, epoch=epoch.number))
        return epoch.number

    def cancel_replies(self) -> None:
        """Cancel every running reply."""
        for scope in list(self.replies):
            scope.cancel()

    def _reach(self, stage: Stage, kind: type[Frame]) -> tuple[list[Stage], list[Stage]]:
        """Return the stages below that take an urgent class: those with an inbox, and the fused ones, in order."""
        # The graph does not change while it runs, so its paths are searched once.
        reached = stage.reached.get(kind)
        if reached is None:
            host = self._host
            below = [host.stages[node.index] for node in host.plan.below(stage.node) if node.accepts(kind)]
            reached = stage.reached[kind] = (
                [each for each in below if each.inbox is not None],
                [each for each in below if each.inbox is None],
            )
        return reached

    def _spread(self, stage: Stage, frame: Frame) -> None:
        """Reach every inbox below, then all stale work, then every fused processor below, in one synchronous step."""
        host = self._host
        inboxed, fused = self._reach(stage, type(frame))
        # Inboxes before everything else. Then stale work is cancelled, and only then processors are called, whose
        # answers must not meet what is stale.
        fused = [target for target in fused if not target.ended]
        if host.taps:
            for target in (*inboxed, *fused):
                host.observe(Hop(anyio.current_time(), stage.name, target.name, frame))
        for target in inboxed:
            if target.inbox is not None and not target.ended:
                target.inbox._put_urgent(frame)
        if type(frame) is Interrupt:
            self._expire()
        if not fused:
            return
        if host.sweeper.active and stage is not host.entry:
            # The sweep is at the emitter, so no processor below it is in the middle of its generator.
            self._spread_fused(fused, frame)
            return
        # The application may interrupt while a sweep runs through these processors. A generator must not be entered
        # twice.
        host.sweeper.defer(partial(self._spread_fused, fused, frame))
        host.sweeper.settle()

    def _spread_fused(self, fused: list[Stage], frame: Frame) -> None:
        """Call all of them, and only then deliver what they answer, so that no answer arrives before the frame."""
        host = self._host
        answers: list[tuple[Stage, list[Frame]]] = []
        for target in fused:
            target.counters.frames_in += 1
            try:
                # A list, because a generator that is delivered as it runs would let the first answer overtake the
                # interrupt.
                answers.append((target, list(target.outputs(frame))))
            except Exception as error:
                host.failed(target, error, frame)
        for target, frames in answers:
            try:
                for out in frames:
                    deliver = target.table[type(out)]
                    target.counters.frames_out += 1
                    deliver(inherit(out, frame.epoch) if out.epoch > frame.epoch else out)
            except Exception as error:
                host.failed(target, error, frame)

    def _expire(self) -> None:
        """Free everything that waits on stale frames. Comparison alone would be correct; this is sooner."""
        number = self._host.epoch.number
        for stage in self._host.stages:
            if stage.inbox is not None:
                stage.inbox._expire()
            if stage.working is not None and stage.working[0] < number:
                stage.working[1].cancel()
        # A copy: a reply that is cancelled may end at once, and leaves the table.
        for scope, epoch in list(self.replies.items()):
            if epoch < number:
                scope.cancel()
