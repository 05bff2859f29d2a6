"""A processor's two ports: the inbox it receives from, and the outlet it sends through."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple, cast

import anyio
from anyio.lowlevel import checkpoint

from .errors import EmitLimitError, FrameError
from .frames import LIVE, Delivery, End, Frame, Interrupt

if TYPE_CHECKING:
    from ._epoch import Epoch
    from ._run import Run
    from ._stage import Stage
    from .statistics import Counters

__all__ = [
    "CHECKPOINT_MASK",
    "EMIT_LIMIT",
    "WAITS",
    "Inbox",
    "Outlet",
    "PassThrough",
    "emit_limit_error",
    "not_begun",
]

F_co = TypeVar("F_co", bound=Frame, covariant=True)
F_contra = TypeVar("F_contra", bound=Frame, contravariant=True)
Args = TypeVarTuple("Args")

SHORT = 0.25
"""Seconds. A sleep that is shorter paces something, and mostly ends by itself; a longer one waits for something."""
NEWS_ROOM = 256
"""How many upstream frames may wait in one inbox. They never wait for room; past this the oldest is dropped."""

EMIT_LIMIT = 100_000
"""How many frames may come to one inbox in one sweep before it is taken for a mistake."""

CHECKPOINT_MASK = 15
"""A bit mask: one in sixteen gets or sends that did not wait gives the other tasks a turn."""


WAITS = (Delivery.STREAM, Delivery.EVENT)
"""What may have to wait for room. An interrupt must not, nor what travels upstream."""


class PassThrough(Frame, frozen=True, kw_only=True):
    """A frame that waits in the inbox of a stage which it will pass by."""

    frame: Frame
    deliver: Callable[[Frame], None]

    def __post_init__(self) -> None:
        pass  # a copy of the frame's epoch, whatever way it travels


def _carried(frame: Frame) -> Frame:
    return frame.frame if type(frame) is PassThrough else frame


class Inbox(Generic[F_co]):
    """What waits for one processor, in three lanes: urgent first, then upstream news, then data in order.

    Bounded: data waits for room at its sender (`Outlet.send`) or pushes out the oldest (`Outlet.offer`). The sender
    pays after the fact: what one frame causes is put in as a whole, and then its sender waits until there is room
    again, so that a sweep through fused processors is never suspended in its middle.
    """

    def __init__(self, epoch: Epoch, counters: Counters, capacity: int, overfull: list[Inbox[Any]]) -> None:
        self.capacity = capacity
        self._epoch = epoch
        self._counters = counters
        self._overfull = overfull
        self._low = capacity // 2  # senders wake when it is half empty: fewer task switches a frame
        self._urgent: dict[type[Frame], Frame] = {}
        self._news: deque[Frame] = deque()
        self._data: deque[Frame] = deque()
        self._end: End | None = None
        self._gives_end = False
        self.lingers = False  # its processor hears news from below until those below have ended
        self._drained = False  # no data any more
        self._lingering = False
        self._over = False
        self._closed = False
        self._wake: anyio.Event | None = None
        self._event: type[anyio.Event] | None = None
        self._alarm: Callable[[], object] | None = None  # ends a sleep, for something urgent
        self._forever = False
        self._room: anyio.Event | None = None
        self._streak = 0
        self._since: float | None = None

    # What processors use ------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The session's current epoch."""
        return self._epoch.number

    def stale(self, frame: Frame) -> bool:
        """Whether an interrupt has expired this frame. For processors that keep frames: ask again before the wire."""
        return frame.epoch < self._epoch.number

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self._closed

    @property
    def ending(self) -> bool:
        """No data will come after what is here. Something urgent still may, until the end has been received."""
        return self._end is not None or self._closed

    def urgent_nowait(self) -> F_co | None:
        """The next urgent frame if one is there, leaving data where it is."""
        return self.receive_nowait() if self._urgent else None

    def __len__(self) -> int:
        return len(self._urgent) + len(self._news) + len(self._data)

    async def receive(self) -> F_co:
        """The next frame. Raises `anyio.EndOfStream` when nothing more will come."""
        counters = self._counters
        if self._since is not None:
            counters.busy += anyio.current_time() - self._since
            counters.timed += 1
            self._since = None
        self._streak += 1
        if not self._streak & CHECKPOINT_MASK:
            await checkpoint()
        while (frame := self._take() or self._take_end()) is None:
            if self._closed or (self._drained and not self._lingering):
                raise anyio.EndOfStream
            if self._wake is None:
                self._wake = self._event() if self._event else anyio.Event()
                self._event = type(self._wake)  # to ask AnyIO for one costs as much again as to make it
            await self._wake.wait()
        counters.frames_in += 1
        if counters.frames_in & CHECKPOINT_MASK == 1:  # one in sixteen is timed, the first among them
            self._since = anyio.current_time()
        return cast("F_co", frame)

    async def urgent(self, seconds: float) -> F_co | None:
        """Sleep for so long, unless an urgent frame comes first; it is returned, and None after a whole sleep.

        For whatever paces what it has: it hears an interrupt at once, and leaves data where it is. A wait of `math.inf`
        seconds also ends, with None, when the inbox is `ending`: who would still send what it waits for?
        """
        if not self._urgent and not (self.ending and seconds == math.inf):
            self._forever = seconds == math.inf
            if seconds < SHORT:
                # A whole sleep is the rule, and to cancel costs far more: so the exception is what is cancelled.
                with anyio.CancelScope() as scope:
                    self._alarm = scope.cancel
                    await anyio.sleep(seconds)
            else:
                event = anyio.Event()
                self._alarm = event.set
                with anyio.move_on_after(seconds):
                    await event.wait()
            self._alarm, self._forever = None, False
        return self.urgent_nowait()

    def receive_nowait(self) -> F_co | None:
        """The next frame if one is there. The end is for `receive` to tell."""
        frame = self._take()
        if frame is not None:
            self._counters.frames_in += 1
        return cast("F_co | None", frame)

    def __aiter__(self) -> Inbox[F_co]:
        return self

    async def __anext__(self) -> F_co:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def __repr__(self) -> str:
        return f"<Inbox {len(self._data)}/{self.capacity}{' closed' if self._closed else ''}>"

    # What the engine uses -----------------------------------------------------------------------------------------

    def put(self, frame: Frame) -> None:
        """Put data in. It never waits; the sweep's sender does, afterwards."""
        epoch = frame.epoch
        if epoch < self._epoch.number:
            self._counters.stale += 1
            return
        if epoch != LIVE and epoch > self._epoch.number:
            raise not_begun(frame, self._epoch.number)
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
            self._ring()

    def put_urgent(self, frame: Frame) -> None:
        """Put in what goes ahead of all that waits. The newest of a class replaces the older; an interrupt, all."""
        if self._closed:
            return
        kind = type(frame)
        if kind is Interrupt:
            self._urgent.clear()
        else:
            self._urgent.pop(kind, None)
        self._urgent[kind] = frame
        if self._alarm is not None:
            self._alarm()
        self._ring()

    def put_news(self, frame: Frame) -> None:
        """Put in what came against the stream."""
        if self._closed:
            self._counters.late += 1
            return
        if len(self._news) >= NEWS_ROOM:
            self._news.popleft()
            self._counters.overflow += 1
        self._news.append(frame)
        self._ring()

    def put_end(self, end: End, give: bool) -> None:
        """No data comes after what is here; `give` says whether the processor wants to see the end itself."""
        if self._end is None:
            self._end, self._gives_end = end, give
            if self._forever and self._alarm is not None:
                self._alarm()
            self._ring()

    def expire(self) -> None:
        """An interrupt has come: let senders go on that wait behind what it expired.

        Nothing else needs doing now, as staleness is compared at every get; to purge fifty frames costs more than to
        wake their processor.
        """
        if self._room is not None:
            self.purge()

    def purge(self) -> None:
        """Drop what an interrupt has expired."""
        data = self._data
        if not data:
            return
        number = self._epoch.number
        kept = [frame for frame in data if frame.epoch >= number]
        if len(kept) != len(data):
            self._counters.stale += len(data) - len(kept)
            data.clear()
            data.extend(kept)
            self._give_room()

    def trim(self, times: int = 1) -> None:
        """Drop the oldest down to so many capacities: media before news, as media has a next frame."""
        self.purge()
        data = self._data
        while len(data) > self.capacity * times:
            oldest = next((at for at, frame in enumerate(data) if _carried(frame).delivery is Delivery.STREAM), 0)
            del data[oldest]
            self._counters.overflow += 1

    def linger(self) -> None:
        """From now on only news is waited for, until it is over."""
        self._lingering = True

    def over(self) -> None:
        """Everything below has ended: no news will come any more."""
        self._over = True
        self._ring()

    async def room(self) -> None:
        """Wait until a frame more would fit."""
        self.purge()
        while len(self._data) > self.capacity and not self._closed:
            if self._room is None:
                self._room = anyio.Event()
            await self._room.wait()

    def close(self) -> None:
        """The processor has ended: what waits is dropped and counted, and senders go on."""
        self._closed = True
        self._counters.late += len(self._data) + len(self._news)
        self._urgent.clear()
        self._news.clear()
        self._data.clear()
        self._give_room()
        self._ring()

    def _take(self) -> Frame | None:
        if self._urgent:
            kind = next(iter(self._urgent))
            return self._urgent.pop(kind)
        if self._news:
            return self._news.popleft()
        data = self._data
        while data:
            frame = data.popleft()
            if self._room is not None and len(data) <= self._low:
                self._give_room()
            if frame.epoch >= self._epoch.number:
                return frame
            self._counters.stale += 1
            self.purge()  # the others that expired with it, faster than one by one
        return None

    def _take_end(self) -> Frame | None:
        if self._end is not None and not self._closed:
            if self._gives_end:
                self._gives_end = False
                return self._end
            self._drained = True
            self._closed = self._over or not self.lingers
        return None

    def _ring(self) -> None:
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    def _give_room(self) -> None:
        if self._room is not None and len(self._data) <= self.capacity:
            self._room.set()
            self._room = None


class Outlet(Generic[F_contra]):
    """Where a processor's frames go.

    What is sent inherits: a frame of media or text never outlives its cause. In `process(frame, out)` the cause is
    the frame; for what `reply()` and `respond()` give, it is the response, stamped once, when it starts.
    """

    __slots__ = ("_cause", "_run", "_stage", "_streak")

    def __init__(self, run: Run, stage: Stage, cause: int = LIVE) -> None:
        self._run = run
        self._stage = stage
        self._cause = cause
        self._streak = 0

    @property
    def epoch(self) -> int:
        """The epoch that what is sent belongs to at the latest: the response's, or the session's current one."""
        return self._run.epoch.number if self._cause == LIVE else self._cause

    @property
    def stale(self) -> bool:
        """Whether an interrupt has expired the response, so that whatever is sent would be dropped."""
        return self._cause < self._run.epoch.number

    async def send(self, frame: F_contra) -> None:
        """Send, and wait until there is room for more. A stale frame is dropped and counted."""
        run, stage = self._run, self._stage
        if stage.owed and frame.delivery in WAITS:
            await run.pay(stage)
        self._emit(frame)
        if run.overfull:
            await run.wait_for_room(stage)
        else:
            self._streak += 1
            if not self._streak & CHECKPOINT_MASK:
                await checkpoint()

    def offer(self, frame: F_contra) -> None:
        """Send without ever waiting: where an inbox is full, the oldest is dropped and counted. For live sources."""
        self._emit(frame)
        self._run.trim()

    def reply(self) -> Outlet[F_contra]:
        """Begin a response: an outlet whose frames belong to the current epoch, however late they are sent."""
        if self._cause != LIVE:
            return self
        return Outlet(self._run, self._stage, self._run.epoch.begin_response())

    def respond(
        self, function: Callable[[Outlet[F_contra], *Args], Coroutine[Any, Any, None]], *args: *Args
    ) -> Outlet[F_contra]:
        """Begin a response in a task of its own: `await function(reply, *args)`, cancelled by the next interrupt.

        The processor's loop goes on listening meanwhile. What the function raises counts as the processor's.
        """
        reply = self.reply()
        self._run.start_reply(self._stage, reply, cast("Callable[..., Coroutine[Any, Any, None]]", function), args)
        return reply

    def _emit(self, frame: Frame) -> None:
        if not isinstance(frame, Frame):
            raise self._stage.not_a_frame(frame)
        run, stage, cause = self._run, self._stage, self._cause
        if frame.epoch > cause and frame.delivery in (Delivery.STREAM, Delivery.URGENT):
            frame = frame.stamped(cause)
        if frame.epoch != LIVE and frame.delivery is not Delivery.URGENT:
            if frame.epoch < run.epoch.number:
                stage.counters.stale += 1
                return
            if frame.epoch > run.epoch.number:
                raise not_begun(frame, run.epoch.number)
            if cause == LIVE:  # stamped by hand: the processor's own way of beginning a response
                run.epoch.begin_response()
        stage.counters.frames_out += 1
        run.feed(stage, frame)

    def __repr__(self) -> str:
        return f"<Outlet of {self._stage.name}{'' if self._cause == LIVE else f', epoch {self._cause}'}>"


def emit_limit_error(question: str = "does a loop in process() never end?") -> EmitLimitError:
    """The error for a processor that does not stop emitting."""
    return EmitLimitError(f"more than {EMIT_LIMIT:,} frames came of one; {question}")


def not_begun(frame: Frame, number: int) -> FrameError:
    """The error for a frame that would outlive interrupts to come."""
    return FrameError(
        f"{frame!r} belongs to epoch {frame.epoch}, but the session is in epoch {number}; "
        "a reply takes the epoch in which it begins: out.reply()"
    )
