"""Frames that wait for room in the graph: in order, and without those that an interrupt made stale."""

from __future__ import annotations

from collections import deque
from typing import Any

from bargein.pipeline import LIVE, Audio, Frame, Outlet, Text
from bargein.pipeline.lowlevel import Wakeup

__all__ = ["OutputQueue"]


class OutputQueue:
    """Frames for the graph, each with the outlet that stamps it."""

    def __init__(self) -> None:
        self.wakeup = Wakeup()
        """Set when there is a frame to send."""
        self.waiting_ms = 0.0
        """How much audio waits for room in the graph, in milliseconds."""
        self._queue: deque[tuple[Outlet[Any], Frame]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, frame: Frame, outlet: Outlet[Any]) -> None:
        """Append a frame.

        Args:
            frame: The frame.
            outlet: Where to send it; that of a response stamps it with the response's epoch.
        """
        self._queue.append((outlet, frame))
        if isinstance(frame, Audio):
            self.waiting_ms += frame.ms
        self.wakeup.set()

    async def send_next(self) -> Frame:
        """Send the first frame, wait until the graph has taken it, and return it."""
        # Taken out before the wait, so that `expire` may replace the queue meanwhile. The outlet drops the frame if it
        # becomes stale.
        outlet, frame = self._queue.popleft()
        await outlet.send(frame)
        if isinstance(frame, Audio):
            self.waiting_ms -= frame.ms
        return frame

    def expire(self) -> None:
        """Drop the audio and the text of responses that are stale."""
        # A frame that waits here has no epoch yet: its outlet stamps it. Everything else, such as the end of a
        # response, is news at any time.
        kept = [
            (outlet, frame)
            for outlet, frame in self._queue
            if not (outlet.stale and frame.epoch == LIVE and isinstance(frame, Audio | Text))
        ]
        # Subtracted and added, not set: `send_next` holds a frame that is no longer in the queue, and still counts.
        self.waiting_ms -= sum(frame.ms for _, frame in self._queue if isinstance(frame, Audio))
        self.waiting_ms += sum(frame.ms for _, frame in kept if isinstance(frame, Audio))
        self._queue = deque(kept)
