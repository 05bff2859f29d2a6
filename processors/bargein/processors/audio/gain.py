"""Louder or softer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bargein.pipeline import Audio, Processor

__all__ = ["Gain"]


class Gain(Processor):
    """Scale audio by a fixed number of decibels, saturating at full scale.

    Raises `ValueError` when the number is not finite; to silence something, leave it out.
    """

    def __init__(self, decibels: float) -> None:
        if not math.isfinite(decibels):
            raise ValueError(f"Gain({decibels}): expected a finite number of decibels, such as -6 for half as loud")
        self.decibels = decibels
        self._factor = 10 ** (decibels / 20)

    def process(self, frame: Audio) -> Iterator[Audio]:
        """Give the frame scaled; unchanged, the very same frame, at 0 dB."""
        yield frame.scaled(self._factor) if self.decibels else frame
