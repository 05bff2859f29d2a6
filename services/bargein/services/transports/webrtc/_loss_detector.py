"""`LossDetector`: notices that the network to a peer is lost, before the connection does. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

__all__ = ["LossDetector"]

SILENT_SECONDS: Final = 0.2
"""Time in seconds without a packet of the microphone, which sends one every 20 ms, after which the network may be
lost."""
MIN_MISSING: Final = 8
"""If fewer packets of the microphone are missing after a silence, they were late and not lost. Then the agent's sound
was not lost either."""
MAX_MISSING: Final = 0x8000
"""A sequence number has 16 bits. A step greater than this goes backwards."""


class LossDetector:
    """Detects that nothing at all comes any more from a peer whose microphone was on.

    RTP has no confirmations. A peer whose network is lost falls silent in all of its streams at once, and then hears
    nothing either. A peer that has switched its microphone off still sends reports.

    Args:
        packets: Returns the number of packets of any kind that have come.
    """

    def __init__(self, packets: Callable[[], int]) -> None:
        self._packets = packets
        self._microphone_at = math.inf  # when its last packet came; infinite while it is off
        self._number = 0  # of that packet
        self._count: int | None = None  # of packets, when the microphone had fallen silent
        self.ended: tuple[float, float] | None = None
        """Beginning and end of the latest loss, in seconds; None if there was none, or it has been looked at."""

    def on_microphone(self, now: float, number: int) -> None:
        """Note a packet of the microphone.

        Args:
            now: The time in seconds.
            number: Its sequence number.
        """
        missing = (number - self._number - 1) & 0xFFFF
        if now - self._microphone_at >= SILENT_SECONDS and MIN_MISSING <= missing < MAX_MISSING:
            self.ended = (self._microphone_at, now)
        self._microphone_at, self._number, self._count = now, number, None

    def lost_since(self, now: float) -> float:
        """Return since when the network is lost, in seconds; infinite if it is not."""
        if now - self._microphone_at < SILENT_SECONDS:
            return math.inf
        count = self._packets()
        if self._count is None:
            self._count = count
        if count != self._count:  # only the microphone is off
            self._microphone_at, self._count = math.inf, None
        return self._microphone_at
