"""The inbox of a processor: frames that wait for it, in three lanes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from ._epoch import Epoch
from ._limits import (
    CHECKPOINT_MASK,
    EMIT_LIMIT,
    MAX_UPSTREAM,
    SHORT_SLEEP_SECONDS,
    emit_limit_error,
    future_epoch_error,
)
from .frames import LIVE, Delivery, End, Frame, Interrupt
from .statistics import Counters

__all__ = ["Inbox", "PassThrough"]

F_co = TypeVar("F_co", bound=Frame, covariant=True)


class PassThrough(Frame, frozen=True, kw_only=True):
    """A frame that waits its turn in the inbox of a stage that does not take it."""

    frame: Frame
    deliver: Callable[[Frame], None]

    def __post_init__(self) -> None:
        pass  # it carries the epoch of its frame, whatever the delivery of that frame


def _unwrap(frame: Frame) -> Frame:
    return frame.frame if type(frame) is PassThrough else frame


class Inbox(Generic[F_co]):
    """The frames that wait for one processor: urgent frames first, then upstream frames, then data in order.

    Iterate over it, or call `receive`. The inbox is bounded: data waits for room at its sender (`Outlet.send`) or
    pushes out the oldest (`Outlet.offer`).
    """

    # The sender waits afterwards: a sweep puts in all that one frame causes, and only then its sender waits until there
    # is room again. So a sweep through fused processors is never suspended in its middle, at the price that an inbox
    # may hold more than its capacity for a moment.

    def __init__(self, epoch: Epoch, counters: Counters, capacity: int, overfull: list[Inbox[Frame]]) -> None:
        """Called by the engine.

        Args:
            epoch: The session's epoch, with which frames are compared.
            counters: The counters of the processor.
            capacity: How many data frames it holds before senders wait, at least 1.
            overfull: The inboxes that the present sweep has filled beyond their capacity; this one adds itself.
        """
        self.capacity = capacity
        """Number of data frames that it holds before senders wait."""
        self._epoch = epoch
        self._counters = counters
        self._overfull = overfull  # shared by the whole run: inboxes that the present sweep has filled beyond capacity
        self._low = capacity // 2  # senders wake when it is half empty: fewer task switches a frame
        self._urgent: dict[type[Frame], Frame] = {}
        self._upstream: deque[Frame] = deque()
        self._data: deque[Frame] = deque()
        self._end: End | None = None
        self._delivers_end = False  # the processor takes `End` and has not received it yet
        self._drained = False  # all data has been received
        self._lingers = False  # the processor takes upstream frames until the stages below it have ended
        self._lingering = False  # it waits for upstream frames only
        self._upstream_ended = False
        self._closed = False
        self._wake: anyio.Event | None = None  # set when something has come, for `receive`
        self._event_class: type[anyio.Event] | None = None
        self._wake_sleep: Callable[[], object] | None = None  # ends the sleep in `urgent`
        self._sleeps_forever = False
        self._room: anyio.Event | None = None  # set when there is room again, for senders
        self._received = 0
        self._since: float | None = None  # when the frame that is timed was received

    # For processors -----------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The session's current epoch."""
        return self._epoch.number

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    @property
    def ending(self) -> bool:
        """Whether no data will come after what is here. Urgent frames may still come, until the end is received."""
        return self._end is not None or self._closed

    def stale(self, frame: Frame) -> bool:
        """Return whether an interrupt has expired this frame.

        A processor that keeps frames asks again before it uses them.

        Args:
            frame: A frame that was received earlier.
        """
        return frame.epoch < self._epoch.number

    async def receive(self) -> F_co:
        """Return the next frame, waiting for it if necessary.

        Raises:
            anyio.EndOfStream: Nothing more will come.
        """
        counters = self._counters
        if self._since is not None:
            counters.busy += anyio.current_time() - self._since
            counters.timed += 1
            self._since = None
        self._received += 1
        if not self._received & CHECKPOINT_MASK:
            await checkpoint()
        while (frame := self._take() or self._take_end()) is None:
            if self._closed or (self._drained and not self._lingering):
                raise anyio.EndOfStream
            if self._wake is None:
                # Asking AnyIO for an event looks up the backend, which costs as much again as making the event.
                self._wake = self._event_class() if self._event_class else anyio.Event()
                self._event_class = type(self._wake)
            await self._wake.wait()
        counters.frames_in += 1
        if counters.frames_in & CHECKPOINT_MASK == 1:  # one in 16 is timed, the first among them
            self._since = anyio.current_time()
        return cast("F_co", frame)

    def receive_nowait(self) -> F_co | None:
        """Return the next frame if there is one, else None. The end of the inbox is reported by `receive` only."""
        frame = self._take()
        if frame is not None:
            self._counters.frames_in += 1
        return cast("F_co | None", frame)

    async def urgent(self, seconds: float) -> F_co | None:
        """Sleep, but return at once when an urgent frame comes.

        For processors that pace what they hold: they react to an interrupt at once and leave data where it is.

        Args:
            seconds: How long to sleep. `math.inf` waits for an urgent frame, or until the inbox is `ending`.

        Returns:
            The urgent frame, or None after the whole sleep.
        """
        if not self._urgent and not (self.ending and seconds == math.inf):
            self._sleeps_forever = seconds == math.inf
            if seconds < SHORT_SLEEP_SECONDS:
                # A short sleep mostly runs to its end, and a cancel costs far more than an event: cancel the exception.
                with anyio.CancelScope() as scope:
                    self._wake_sleep = scope.cancel
                    await anyio.sleep(seconds)
            else:
                event = anyio.Event()
                self._wake_sleep = event.set
                with anyio.move_on_after(seconds):
                    await event.wait()
            self._wake_sleep, self._sleeps_forever = None, False
        return self.urgent_nowait()

    def urgent_nowait(self) -> F_co | None:
        """Return the next urgent frame if there is one, else None. Data stays where it is."""
        return self.receive_nowait() if self._urgent else None

    def __len__(self) -> int:
        return len(self._urgent) + len(self._upstream) + len(self._data)

    def __aiter__(self) -> Inbox[F_co]:
        return self

    async def __anext__(self) -> F_co:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def __repr__(self) -> str:
        return f"<Inbox {len(self._data)}/{self.capacity}{' closed' if self._closed else ''}>"

    # For the engine -----------------------------------------------------------------------------------------------

    def _put(self, frame: Frame) -> None:
        """Put data in, without waiting. The sweep's sender waits for room afterwards."""
        epoch = frame.epoch
        if epoch < self._epoch.number:
            self._counters.stale += 1
            return
        if epoch != LIVE and epoch > self._epoch.number:
            raise future_epoch_error(frame, self._epoch.number)
        if self._closed or self._end is not None:
            self._counters.late += 1
            return
        data = self._data
        data.append(frame)
        waiting = len(data)
        if waiting > self._counters.peak:
            self._counters.peak = waiting
        if waiting > self.capacity:
            if not self._overfull or self._overfull[-1] is not self:
                self._overfull.append(self)
            if waiting > self.capacity + EMIT_LIMIT:
                raise emit_limit_error()
        if self._wake is not None:
            self._wake_receiver()

    def _put_urgent(self, frame: Frame) -> None:
        """Put in an urgent frame. It replaces an older one of its class; an interrupt replaces all."""
        if self._closed:
            return
        kind = type(frame)
        if kind is Interrupt:
            self._urgent.clear()
        else:
            self._urgent.pop(kind, None)
        self._urgent[kind] = frame
        if self._wake_sleep is not None:
            self._wake_sleep()
        self._wake_receiver()

    def _put_upstream(self, frame: Frame) -> None:
        """Put in a frame that came against the stream."""
        if self._closed:
            self._counters.late += 1
            return
        if len(self._upstream) >= MAX_UPSTREAM:
            self._upstream.popleft()
            self._counters.overflow += 1
        self._upstream.append(frame)
        self._wake_receiver()

    def _put_end(self, end: End, deliver: bool) -> None:
        """Accept no more data. `deliver` says whether the processor takes the `End` frame itself."""
        if self._end is None:
            self._end, self._delivers_end = end, deliver
            if self._sleeps_forever and self._wake_sleep is not None:
                self._wake_sleep()
            self._wake_receiver()

    def _expire(self) -> None:
        """Let senders continue that wait behind frames which an interrupt has expired.

        Nothing else needs to be done now, as staleness is compared at every receive, and purging fifty frames costs
        more than waking their processor.
        """
        if self._room is not None:
            self._purge()

    def _purge(self) -> None:
        """Drop the frames that an interrupt has expired."""
        data = self._data
        if not data:
            return
        number = self._epoch.number
        fresh = [frame for frame in data if frame.epoch >= number]
        if len(fresh) != len(data):
            self._counters.stale += len(data) - len(fresh)
            data.clear()
            data.extend(fresh)
            self._release_senders()

    def _trim(self, times: int = 1) -> None:
        """Drop the oldest beyond `times` the capacity: media before events, because only media has a next frame."""
        self._purge()
        data = self._data
        while len(data) > self.capacity * times:
            oldest = next((at for at, frame in enumerate(data) if _unwrap(frame).delivery is Delivery.STREAM), 0)
            del data[oldest]
            self._counters.overflow += 1

    def _linger(self) -> None:
        """From now on wait for upstream frames only, until `_end_upstream`."""
        self._lingering = True

    def _end_upstream(self) -> None:
        """Accept that no more upstream frames come, because everything below has ended."""
        self._upstream_ended = True
        self._wake_receiver()

    async def _wait_for_room(self) -> None:
        """Wait until one more frame fits."""
        self._purge()
        while len(self._data) > self.capacity and not self._closed:
            if self._room is None:
                self._room = anyio.Event()
            await self._room.wait()

    def _close(self) -> None:
        """Drop and count what waits, and let senders continue: the processor has ended."""
        self._closed = True
        self._counters.late += len(self._data) + len(self._upstream)
        self._urgent.clear()
        self._upstream.clear()
        self._data.clear()
        self._release_senders()
        self._wake_receiver()

    def _take(self) -> Frame | None:
        if self._urgent:
            kind = next(iter(self._urgent))
            return self._urgent.pop(kind)
        if self._upstream:
            return self._upstream.popleft()
        data = self._data
        while data:
            frame = data.popleft()
            if self._room is not None and len(data) <= self._low:
                self._release_senders()
            if frame.epoch >= self._epoch.number:
                return frame
            self._counters.stale += 1
            self._purge()  # the others that expired with it, faster than one by one
        return None

    def _take_end(self) -> Frame | None:
        if self._end is not None and not self._closed:
            if self._delivers_end:
                self._delivers_end = False
                return self._end
            self._drained = True
            self._closed = self._upstream_ended or not self._lingers
        return None

    def _wake_receiver(self) -> None:
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    def _release_senders(self) -> None:
        if self._room is not None and len(self._data) <= self.capacity:
            self._room.set()
            self._room = None
