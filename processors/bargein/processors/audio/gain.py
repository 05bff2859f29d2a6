"""Make audio louder or quieter."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bargein.pipeline import Audio, Processor
from bargein.pipeline.lowlevel import check_options

__all__ = ["Gain"]


class Gain(Processor):
    """Scales audio by a fixed number of decibels. Samples beyond full scale are clipped.

    Args:
        decibels: The gain. Negative values make the audio quieter: -6 halves its amplitude. With 0 the frames pass
            unchanged.

    Raises:
        ValueError: `decibels` is not finite.
    """

    @check_options
    def __init__(self, decibels: float) -> None:
        if not math.isfinite(decibels):
            raise ValueError(f"Gain({decibels}): expected a finite number of decibels, such as -6 for half as loud")
        self.decibels = decibels
        self._factor = 10 ** (decibels / 20)

    def process(self, frame: Audio) -> Iterator[Audio]:
        """Yield the scaled frame, or the same frame object at 0 dB."""
        yield frame.scaled(self._factor) if self.decibels else frame
