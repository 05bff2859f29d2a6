"""`Reorder`: RTP packets in the order in which they were sent. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from bargein.pipeline.lowlevel import check_options

__all__ = ["Reorder"]

HALF = 1 << 15
WRAP = 1 << 16
MAX_JUMP = 500
"""A sequence number further away than this is not a late packet: the sender restarted its count. 500 packets are 10 s
of sound."""


class Reorder:
    """Puts packets in order. It waits for a missing packet until `depth` later ones have come.

    While no packet is missing, none is delayed, because an agent needs the order but no even pace. (aiortc's jitter
    buffer always delays four packets, and up to sixteen permanently once a packet has been lost.)

    Args:
        depth: Number of packets that may come before a missing one is skipped.
    """

    @check_options
    def __init__(self, depth: int = 5) -> None:
        self.depth = depth
        """Number of packets that may come before a missing one is skipped."""
        self.late = 0
        """Packets that came after they had been skipped, or twice."""
        self.lost = 0
        """Packets that were skipped."""
        self._next: int | None = None
        self._waiting: dict[int, tuple[int, bytes]] = {}

    def add(self, number: int, timestamp: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take a packet, and yield the timestamps and payloads that are ready now.

        Args:
            number: The packet's sequence number (16 bits).
            timestamp: Its RTP timestamp.
            data: Its payload.
        """
        # The first packet begins the order. One that was sent before it and comes later counts as late.
        if self._next is None:
            self._next = number
        # Numbers wrap at 16 bits. Less than half the circle ahead is later, more is earlier.
        ahead = (number - self._next) % WRAP
        if MAX_JUMP < ahead < WRAP - MAX_JUMP:  # the sender restarted: give what it sent before
            yield from self.flush()
            self._next, ahead = number, 0
        # Its place has been given up, or is taken. To send it now would break the order.
        if ahead >= HALF or number in self._waiting:
            self.late += 1
            return
        self._waiting[number] = (timestamp, data)
        # This counts packets and not time, so it needs no clock and no task. When packets stop altogether, the caller
        # flushes (`VoiceReceiver.quiet`).
        if ahead and len(self._waiting) >= self.depth:
            self._skip_missing()
        yield from self._take_ready()

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """Yield all packets that wait, and give up the missing ones before them."""
        while self._waiting:
            self._skip_missing()
            yield from self._take_ready()

    def _take_ready(self) -> Iterator[tuple[int, bytes]]:
        while self._next is not None and (packet := self._waiting.pop(self._next, None)) is not None:
            self._next = (self._next + 1) % WRAP
            yield packet

    def _skip_missing(self) -> None:
        assert self._next is not None
        # The loop ends, because a packet waits at most MAX_JUMP numbers ahead.
        while self._next not in self._waiting:
            self._next = (self._next + 1) % WRAP
            self.lost += 1
