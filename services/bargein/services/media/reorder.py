"""Packets in the order in which they were sent: late ones are waited for, but not for long. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Reorder"]

HALF = 1 << 15
WRAP = 1 << 16
JUMP = 500
"""A sequence number so far away is no late packet, but a sender that began anew."""


class Reorder:
    """What came gives what is ready, in order. A packet that is missing is waited for while `depth` others come.

    Nothing is held back while nothing is missing: whoever listens needs the order, and no even pace. (The jitter
    buffer of aiortc holds back four packets always, and up to sixteen for good once one has been lost.)
    """

    def __init__(self, depth: int = 5) -> None:
        self.depth = depth
        """Packets that may come before a missing one is given up."""
        self.late = 0
        """Packets that came when they had been given up, or twice."""
        self.lost = 0
        """Packets that were given up."""
        self._next: int | None = None
        self._waiting: dict[int, tuple[int, bytes]] = {}

    def add(self, number: int, timestamp: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """A packet has come: its sequence number (16 bits), its timestamp, its payload."""
        if self._next is None:
            self._next = number
        ahead = (number - self._next) % WRAP
        if JUMP < ahead < WRAP - JUMP:  # begin anew, with what is here before it
            yield from self.flush()
            self._next, ahead = number, 0
        if ahead >= HALF or number in self._waiting:
            self.late += 1
            return
        self._waiting[number] = (timestamp, data)
        if ahead and len(self._waiting) >= self.depth:
            self._skip()
        yield from self._ready()

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """What waits for something that will not come."""
        while self._waiting:
            self._skip()
            yield from self._ready()

    def _ready(self) -> Iterator[tuple[int, bytes]]:
        while self._next is not None and (packet := self._waiting.pop(self._next, None)) is not None:
            self._next = (self._next + 1) % WRAP
            yield packet

    def _skip(self) -> None:
        assert self._next is not None
        while self._next not in self._waiting:
            self._next = (self._next + 1) % WRAP
            self.lost += 1
