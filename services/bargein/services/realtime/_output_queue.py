"""What is to be given to the graph: in order, and without what an interrupt has expired."""

from __future__ import annotations

from collections import deque
from typing import Any

from bargein.pipeline import LIVE, Audio, Frame, Outlet, Text
from bargein.pipeline.lowlevel import Wakeup

__all__ = ["OutputQueue"]


class OutputQueue:
    """Frames for the graph, each with the outlet that stamps it."""

    def __init__(self) -> None:
        self.bell = Wakeup()
        """Rings when there is something to give."""
        self.waiting_ms = 0.0
        """So much sound waits for room in the graph."""
        self._queue: deque[tuple[Outlet[Any], Frame]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, frame: Frame, outlet: Outlet[Any]) -> None:
        """Give it after all that waits."""
        self._queue.append((outlet, frame))
        if isinstance(frame, Audio):
            self.waiting_ms += frame.ms
        self.bell.set()

    async def next(self) -> Frame:
        """Give the next one, and wait until there is room for more."""
        outlet, frame = self._queue.popleft()
        await outlet.send(frame)
        if isinstance(frame, Audio):
            self.waiting_ms -= frame.ms
        return frame

    def expire(self) -> None:
        """Drop the sound and the text of responses that are stale."""
        kept = [
            (outlet, frame)
            for outlet, frame in self._queue
            if not (outlet.stale and frame.epoch == LIVE and isinstance(frame, Audio | Text))
        ]
        self.waiting_ms -= sum(frame.ms for _, frame in self._queue if isinstance(frame, Audio))
        self.waiting_ms += sum(frame.ms for _, frame in kept if isinstance(frame, Audio))
        self._queue = deque(kept)
