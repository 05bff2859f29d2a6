"""The latest seconds of the user's sound, for those who judge a pause by it."""

from __future__ import annotations

from collections import deque

import numpy as np

from bargein.pipeline import Audio
from bargein.pipeline.lowlevel import Samples, ns

__all__ = ["RecentSound"]


class RecentSound:
    """Keeps the latest sound of a continuous stretch of audio. Positions are samples of the stretch.

    Args:
        seconds: Length of the sound that is kept.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._pieces: deque[tuple[int, Samples]] = deque()

    def clear(self) -> None:
        """Forget all sound, because a new stretch begins."""
        self._pieces.clear()

    def add(self, at: int, samples: Samples, rate: int) -> None:
        """Add sound that begins at a position. The array is kept and not copied."""
        self._pieces.append((at, samples))
        first = at + len(samples) - round(self.seconds * rate)
        while self._pieces[0][0] + len(self._pieces[0][1]) <= first:
            self._pieces.popleft()

    def until(self, end: int, rate: int, origin: int) -> Audio:
        """Return the sound before a position, with silence where sound was lost.

        Args:
            end: The position.
            rate: Samples a second (Hz).
            origin: Media time of position 0, in nanoseconds.
        """
        first = max(self._pieces[0][0] if self._pieces else end, end - round(self.seconds * rate))
        whole = np.zeros(max(0, end - first), np.int16)
        for at, samples in self._pieces:
            piece = samples[max(0, first - at) : max(0, end - at)]
            start = max(0, at - first)
            whole[start : start + len(piece)] = piece
        return Audio(whole, rate, pts=origin + ns(first, rate))
