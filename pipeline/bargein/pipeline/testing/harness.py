"""One processor, or a chain of them, between a hand that sends and an eye that sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from bargein.pipeline._contract import Contract, ProcessorKind
from bargein.pipeline._samples import SECOND
from bargein.pipeline.frames import Delivery, Frame
from bargein.pipeline.graph import Pipeline, Step
from bargein.pipeline.processor import Processor
from bargein.pipeline.session import Session
from bargein.pipeline.statistics import SessionStatistics

__all__ = ["Arrival", "Harness", "Timeline"]

F = TypeVar("F", bound=Frame)
SETTLES = 50


class Arrival(tuple[float, Frame]):
    """When something came out, in seconds since the harness was entered, and what."""

    __slots__ = ()

    @property
    def at(self) -> float:
        """Seconds since the harness was entered."""
        return self[0]

    @property
    def frame(self) -> Frame:
        """What came out."""
        return self[1]


class Timeline(list[Arrival]):
    """What came out when. Prints as a table."""

    def of(self, *kinds: type[Frame]) -> Timeline:
        """Only the arrivals of some classes."""
        return Timeline(arrival for arrival in self if isinstance(arrival.frame, kinds))

    def frames(self) -> list[Frame]:
        """Without the times."""
        return [arrival.frame for arrival in self]

    def __str__(self) -> str:
        return "\n".join(f"{arrival.at * 1000:9.1f} ms  {arrival.frame!r}" for arrival in self)


class _Eye(Processor):
    """Sees all that comes down."""

    name = "eye"

    def __init__(self, harness: Harness, delivery: tuple[Delivery, ...], data: bool) -> None:
        self.harness = harness
        kinds = {kind for kind in _all_kinds(Frame) if kind.delivery in delivery}
        takes = frozenset(kinds | ({Frame} if data else set()))
        self.contract_ = Contract(kind=ProcessorKind.SYNC, takes=takes, gives=frozenset())  # type: ignore[misc]

    def process(self, frame: Frame) -> None:
        self.harness._see(frame)


class Harness:
    """Test a processor, or a chain, with frames in your hand::

        async with Harness(Gain(6)) as harness:
            await harness.send(audio)
            assert harness.of(Audio) == [louder]

    It is a session like any other (the options are those of `Graph.session`), with one difference: whatever comes
    out at either end is kept with its time, in `timeline`. On a virtual clock the times are exact.
    """

    def __init__(self, *steps: Step, **options: Any) -> None:
        self.timeline = Timeline()
        """All that came out so far, in order, at both ends."""
        hand = _Eye(self, (Delivery.UPSTREAM,), data=False).options(name="hand")
        eye = _Eye(self, (Delivery.URGENT,), data=True)
        self.pipeline = Pipeline(hand, *steps, eye, inputs=Frame)
        """The steps as they run, with the hand before and the eye behind them."""
        self.session: Session = self.pipeline.session(**options)
        """The session itself."""
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

    # The hand -----------------------------------------------------------------------------------------------------

    async def send(self, *frames: Frame) -> None:
        """Send frames, one after the other, waiting for room."""
        for frame in frames:
            await self.session.send(frame)

    async def play(self, frames: Iterator[Frame] | list[Frame]) -> None:
        """Send frames at the times their `pts` say, counted from now, as a live source would."""
        start = anyio.current_time()
        for frame in frames:
            await anyio.sleep_until(start + frame.pts / SECOND)
            self.session.offer(frame)

    def interrupt(self, reason: str = "") -> int:
        """Interrupt, as the application would; returns the new epoch."""
        return self.session.interrupt(reason)

    async def settle(self) -> None:
        """Wait until every task waits: for a frame, for a time, or for the world."""
        for _ in range(SETTLES):  # on asyncio AnyIO's own looks once in a tenth of a second, and the clock would move
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()

    async def end(self) -> list[Frame]:
        """Send no more, wait until everything has drained, and return all that came out, from the beginning."""
        await self.session.drained()
        return self.frames

    # The eye ------------------------------------------------------------------------------------------------------

    @property
    def frames(self) -> list[Frame]:
        """All that came out so far, in order."""
        return self.timeline.frames()

    def of(self, kind: type[F]) -> list[F]:
        """What came out so far of one class."""
        return [arrival.frame for arrival in self.timeline if isinstance(arrival.frame, kind)]

    async def next(self, kind: type[F], *, within: float = 10.0) -> F:
        """Wait for the next frame of a class that `next` has not returned or passed over yet.

        Raises `TimeoutError` after `within` seconds, with the timeline so far.
        """
        with anyio.move_on_after(within):
            while True:
                while self._next < len(self.timeline):
                    frame = self.timeline[self._next].frame
                    self._next += 1
                    if isinstance(frame, kind):
                        return frame
                if self._arrived is None:
                    self._arrived = anyio.Event()
                await self._arrived.wait()
        raise TimeoutError(f"no {kind.__name__} within {within:g} s; so far there came:\n{self.timeline}")

    def statistics(self) -> SessionStatistics:
        """The session's statistics."""
        return self.session.statistics()

    def watch(self, seen: list[Any]) -> AbstractContextManager[None]:
        """While the block runs, append every hop to a list."""
        return self.session.tap(seen.append)

    def _see(self, frame: Frame) -> None:
        self.timeline.append(Arrival((anyio.current_time() - self._began, frame)))
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None


def _all_kinds(base: type[Frame]) -> Iterator[type[Frame]]:
    """Yield every frame class that exists now, at any depth below `base`."""
    for kind in base.__subclasses__():
        yield kind
        yield from _all_kinds(kind)
