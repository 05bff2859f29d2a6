"""Sweeps: how a frame is delivered in one synchronous step.

A sweep carries a frame from its emitter through all fused processors below, depth first, until it lies in inboxes or
has left the graph. Only then does its sender wait for room. So no processor is re-entered, and an interrupt takes
effect in one step. What must not happen inside of a sweep, such as an answer against the stream, is put off until its
end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ._delivery import DeliveryHost, observed_step
from ._inbox import Inbox, PassThrough
from ._limits import EMIT_LIMIT, emit_limit_error
from ._stage import Deliver, Stage, Unwind
from .frames import Frame

__all__ = ["SweepHost", "Sweeper"]

SAMPLE_MASK = 255
"""Bit mask: one sweep in 256 is timed, for the statistics."""


class SweepHost(DeliveryHost, Protocol):
    """What sweeps ask of the run."""

    failure: BaseException | None

    def fail(self, stage: Stage | None, error: BaseException, frame: Frame | None = None) -> None:
        """End the session with an exception."""


class Sweeper:
    """Runs the sweeps of one session, one at a time."""

    def __init__(self, host: SweepHost) -> None:
        self.active = False
        """Whether a sweep is under way."""
        self.overfull: list[Inbox[Any]] = []
        """Inboxes that the present sweep has filled beyond their capacity. Its sender waits for them."""
        self.left = 0
        """Number of frames that the present sweep has sent out of the graph."""
        self._host = host
        self._count = 0
        self._later: deque[Callable[[], None]] = deque()
        self._ending: Callable[[], None] | None = None

    def feed(self, stage: Stage, frame: Frame) -> None:
        """Deliver a frame that `stage` emits. Inside a sweep, deliver it at the sweep's end."""
        if self.active:
            self._later.append(lambda: self._table(stage)[type(frame)](frame))
            return
        self.run(self._table(stage)[type(frame)], frame)

    def enter(self, stage: Stage, frame: Frame) -> None:
        """Run a sync stage's step on a frame from its inbox, or deliver a frame that only waited its turn there."""
        stage.counters.frames_in -= 1  # its inbox has counted it, and its step will
        if type(frame) is PassThrough:
            self.run(frame.deliver, frame.frame)
        elif self._table(stage) is stage.table:
            self.run(stage.step, frame)
        else:
            self.run(observed_step(self._host, stage), frame)

    def run(self, deliver: Deliver, frame: Frame) -> None:
        """Make a sweep, and then do what it put off."""
        self.active = True
        self.left = 0
        try:
            deliver(frame)
        # The failure is already recorded in the run; `Unwind` only leaves the nested calls of the sweep.
        except Unwind:
            pass
        finally:
            self.active = False
        if self._later:
            self._settle()

    def defer(self, action: Callable[[], None]) -> None:
        """Do something at the end of the sweep that is under way. Without one, the caller calls `settle`."""
        self._later.append(action)

    def defer_end(self, action: Callable[[], None]) -> None:
        """End the application's input, now or at the end of the sweep that is under way."""
        self._ending = action
        self._later.append(action)
        self.settle()

    def settle(self) -> None:
        """Do what was put off, unless a sweep is under way, which does it at its end."""
        if self._later and not self.active:
            self._settle()

    def _table(self, stage: Stage) -> dict[type[Frame], Deliver]:
        self._count += 1
        return stage.observed_table if self._host.taps or not self._count & SAMPLE_MASK else stage.table

    def _settle(self) -> None:
        # What was put off answers urgent and upstream frames, so no sender waits for room: an answer may fill an inbox
        # to twice its capacity, and beyond that the oldest is dropped. What the end brings out is not dropped, because
        # it comes only once.
        host = self._host
        waiting, self.overfull[:] = self.overfull[:], []
        rounds = 0
        while self._later and host.failure is None:
            rounds += 1
            # Two processors that answer each other would otherwise keep the event loop here for ever.
            if rounds > EMIT_LIMIT:
                host.fail(
                    None, emit_limit_error("do processors answer each other for ever, one upstream and one down?")
                )
            action = self._later.popleft()
            self.active = True
            try:
                action()
            except Unwind:
                pass
            finally:
                self.active = False
            if action is self._ending:
                self.overfull.clear()
            else:
                self.trim(2)
        self._later.clear()
        self.overfull[:] = waiting

    # Room ---------------------------------------------------------------------------------------------------------

    def trim(self, times: int = 1) -> None:
        """Make room by dropping the oldest frames beyond `times` the capacity, for a sender that must not wait."""
        while self.overfull and not self.active:  # inside a sweep they are its sender's to wait for
            self.overfull.pop()._trim(times)

    async def wait_for_room(self, stage: Stage) -> None:
        """Wait until everything that `stage` has just overfilled has room again.

        When the wait is cancelled, the frames are in the inboxes all the same. The stage then waits before its next
        send. So the bound holds and no frame is dropped.
        """
        full, self.overfull[:] = self.overfull[:], []
        try:
            # A sweep may overfill one inbox several times. It is waited for once.
            for inbox in dict.fromkeys(full):
                await inbox._wait_for_room()
        except BaseException:
            stage.unpaid = list(dict.fromkeys((*stage.unpaid, *full)))
            raise

    async def pay(self, stage: Stage) -> None:
        """Wait for the room for which an earlier, cancelled send did not wait."""
        while stage.unpaid:
            inbox = stage.unpaid[0]
            await inbox._wait_for_room()
            # The list may have changed during the wait.
            if inbox in stage.unpaid:
                stage.unpaid.remove(inbox)
