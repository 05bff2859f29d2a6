"""A harness: one processor, or a chain of them, on a virtual clock, with its input and output in the test's hands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar, Unpack

import anyio

from bargein.pipeline._contract import Contract, ProcessorKind
from bargein.pipeline._samples import SECOND
from bargein.pipeline.frames import Delivery, Frame
from bargein.pipeline.graph import Pipeline, SessionOptions, Step
from bargein.pipeline.lowlevel import check_options
from bargein.pipeline.processor import Processor
from bargein.pipeline.session import Session
from bargein.pipeline.statistics import Hop, SessionStatistics

__all__ = ["Arrival", "Harness", "Timeline"]

F = TypeVar("F", bound=Frame)

SETTLE_CHECKPOINTS = 50
"""Number of passes of the loop that `settle` makes before it asks AnyIO whether all tasks wait."""


class Arrival(tuple[float, Frame]):
    """A frame that came out, and when."""

    __slots__ = ()

    @property
    def at(self) -> float:
        """Seconds since the harness was entered."""
        return self[0]

    @property
    def frame(self) -> Frame:
        """The frame that came out."""
        return self[1]


class Timeline(list[Arrival]):
    """The frames that came out and their times, in order. Prints as a table."""

    def of(self, *kinds: type[Frame]) -> Timeline:
        """Return only the arrivals of some classes.

        Args:
            kinds: Frame classes.
        """
        return Timeline(arrival for arrival in self if isinstance(arrival.frame, kinds))

    def frames(self) -> list[Frame]:
        """Return the frames without their times."""
        return [arrival.frame for arrival in self]

    def __str__(self) -> str:
        return "\n".join(f"{arrival.at * 1000:9.1f} ms  {arrival.frame!r}" for arrival in self)


class _Recorder(Processor):
    """Records the frames that come to one end of the chain."""

    is_adapter = True

    def __init__(self, harness: Harness, delivery: tuple[Delivery, ...], data: bool) -> None:
        self.harness = harness
        kinds = {kind for kind in _all_kinds(Frame) if kind.delivery in delivery}
        takes = frozenset(kinds | ({Frame} if data else set()))
        self.contract_ = Contract(kind=ProcessorKind.SYNC, takes=takes, gives=frozenset())  # type: ignore[misc]

    def process(self, frame: Frame) -> None:
        self.harness._record(frame)


class Harness:
    """Runs one processor, or a chain, lets you send frames, and records what comes out::

        async with Harness(Gain(6)) as harness:
            await harness.send(audio)
            assert harness.of(Audio) == [louder]

    It is a session, with one difference: everything that comes out at either end is recorded with its time, in
    `timeline`. On a virtual clock the times are exact.

    Args:
        steps: Processors, annotated functions and graphs, in order.
        options: The options of `Graph.session`.
    """

    @check_options
    def __init__(self, *steps: Step, **options: Unpack[SessionOptions]) -> None:
        self.timeline = Timeline()
        """Everything that came out so far, at both ends, in order."""
        above = _Recorder(self, (Delivery.UPSTREAM,), data=False).options(name="above")
        below = _Recorder(self, (Delivery.URGENT,), data=True).options(name="below")
        self.pipeline = Pipeline(above, *steps, below, inputs=Frame)
        """The steps as they run, with a recorder above and one below them."""
        self.session: Session = self.pipeline.session(**options)
        """The session."""
        self._began = 0.0
        self._next = 0
        self._arrived: anyio.Event | None = None

    async def __aenter__(self) -> Self:
        await self.session.__aenter__()
        self._began = anyio.current_time()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.__aexit__(kind, error, trace)

    # Input ---------------------------------------------------------------------------------------------------------

    async def send(self, *frames: Frame) -> None:
        """Send frames in order, waiting for room.

        Args:
            frames: The frames.
        """
        for frame in frames:
            await self.session.send(frame)

    async def play(self, frames: Iterator[Frame] | list[Frame]) -> None:
        """Send frames at the times that their `pts` say, counted from now, as a live source does.

        Args:
            frames: The frames, in order.
        """
        start = anyio.current_time()
        for frame in frames:
            await anyio.sleep_until(start + frame.pts / SECOND)
            self.session.offer(frame)

    def interrupt(self, reason: str = "") -> int:
        """Interrupt, as the application does, and return the new epoch.

        Args:
            reason: The reason in the `Interrupt` frame.
        """
        return self.session.interrupt(reason)

    async def settle(self) -> None:
        """Wait until every task waits for a frame, for a time, or for the outside world."""
        for _ in range(SETTLE_CHECKPOINTS):  # AnyIO on asyncio looks every 0.1 s, and the clock would move
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()

    async def end(self) -> list[Frame]:
        """Send no more, wait until everything has drained, and return all frames that came out since the beginning."""
        await self.session.drained()
        return self.frames

    # Output --------------------------------------------------------------------------------------------------------

    @property
    def frames(self) -> list[Frame]:
        """All frames that came out so far, in order."""
        return self.timeline.frames()

    def of(self, kind: type[F]) -> list[F]:
        """Return the frames of one class that came out so far.

        Args:
            kind: The frame class. Subclasses count too.
        """
        return [arrival.frame for arrival in self.timeline if isinstance(arrival.frame, kind)]

    async def next(self, kind: type[F], *, within_seconds: float = 10.0) -> F:
        """Wait for the next frame of a class, after the frame that the last call returned.

        Args:
            kind: The frame class.
            within_seconds: How long to wait, in seconds. Default 10.

        Raises:
            TimeoutError: No such frame came in time. The message shows the timeline so far.
        """
        with anyio.move_on_after(within_seconds):
            while True:
                while self._next < len(self.timeline):
                    frame = self.timeline[self._next].frame
                    self._next += 1
                    if isinstance(frame, kind):
                        return frame
                if self._arrived is None:
                    self._arrived = anyio.Event()
                await self._arrived.wait()
        raise TimeoutError(f"no {kind.__name__} within {within_seconds:g} s; so far there came:\n{self.timeline}")

    def statistics(self) -> SessionStatistics:
        """Return the session's statistics."""
        return self.session.statistics()

    def watch(self, seen: list[Hop]) -> AbstractContextManager[None]:
        """Return a context that appends every hop to a list.

        Args:
            seen: The list to which each hop is appended.
        """
        return self.session.tap(seen.append)

    def _record(self, frame: Frame) -> None:
        self.timeline.append(Arrival((anyio.current_time() - self._began, frame)))
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None


def _all_kinds(base: type[Frame]) -> Iterator[type[Frame]]:
    """Yield every frame class that exists now, at any depth below `base`."""
    for kind in base.__subclasses__():
        yield kind
        yield from _all_kinds(kind)
