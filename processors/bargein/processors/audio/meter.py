"""Measure the level of audio."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bargein.pipeline import Audio, End, Processor
from bargein.pipeline.lowlevel import check_options, check_positive, ns
from bargein.processors.frames import Level

__all__ = ["Meter"]

FULL_SCALE = 32767
SILENCE_DBFS = -120.0
"""Reported level of digital silence, which would be minus infinity."""


class Meter(Processor):
    """Passes audio, and sends a `Level` for every stretch of it. All channels are measured together.

    Args:
        ms: Length of a stretch in milliseconds, counted in samples.
        silence_dbfs: Root mean square in decibels below which a stretch counts as silent.

    Raises:
        ValueError: `ms` is not positive, or `silence_dbfs` is not finite.
    """

    @check_options
    def __init__(self, ms: float = 100.0, *, silence_dbfs: float = -50.0) -> None:
        check_positive("Meter", ms=ms)
        if not math.isfinite(silence_dbfs):
            raise ValueError(f"Meter(silence_dbfs={silence_dbfs}): expected a finite number, such as -50")
        self.ms = ms
        self.silence_dbfs = silence_dbfs
        self._rate = self._pts = 0
        self._begin()

    def process(self, frame: Audio | End) -> Iterator[Audio | Level]:
        """Yield the frame, then the levels of the stretches that it completes."""
        if isinstance(frame, End):
            if self._count:
                yield self._level()
            return
        yield frame
        if self._count and frame.rate != self._rate:
            yield self._level()
        samples, done = frame.samples, 0
        length = max(1, round(self.ms * frame.rate / 1000))
        while done < len(samples):
            if not self._count:
                self._pts, self._rate = frame.pts + ns(done, frame.rate), frame.rate
            piece = samples[done : done + length - self._count]
            self._add(piece)
            done += len(piece)
            if self._count >= length:
                yield self._level()

    def _begin(self) -> None:
        self._count = self._values = self._peak = self._clipped = 0
        self._squares = 0.0

    def _add(self, piece: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> None:
        loud = np.abs(piece.astype(np.int32))
        self._count += len(piece)
        self._values += piece.size
        self._squares += float(np.dot(loud.ravel().astype(np.float64), loud.ravel()))
        self._peak = max(self._peak, int(loud.max()))
        self._clipped += int(np.count_nonzero(loud >= FULL_SCALE))

    def _level(self) -> Level:
        rms = _decibels(math.sqrt(2 * self._squares / self._values) / FULL_SCALE)
        level = Level(
            pts=self._pts,
            rms_dbfs=rms,
            peak_dbfs=_decibels(self._peak / FULL_SCALE),
            clipped=self._clipped,
            silent=rms < self.silence_dbfs,
            ms=self._count * 1000 / self._rate,
        )
        self._begin()
        return level


def _decibels(ratio: float) -> float:
    return max(SILENCE_DBFS, 20 * math.log10(ratio)) if ratio > 0 else SILENCE_DBFS
