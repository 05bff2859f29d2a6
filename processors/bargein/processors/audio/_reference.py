"""What was played, on a line of samples in which the sound of the microphone is found by the time of its arrival."""

from __future__ import annotations

import math

import numpy as np

from bargein.pipeline import Audio
from bargein.pipeline.lowlevel import SECOND, Samples
from bargein.processors.frames import PlayedSound

from .channels import mix_channels
from .resample import Resample

__all__ = ["MicrophoneClock", "Reference"]

KEPT_SECONDS = 4
"""Length of the line. Players are at most half a second ahead, and microphones hardly more behind."""
ROUNDING = 2
"""Samples by which a report may be off the end of the previous one and still continues it: times are floats."""
WINDOW_SECONDS = 2.0
"""How long arrivals are compared before the clock is corrected. The earliest is the least delayed one."""
TOLERANCE_SECONDS = 0.002
"""Deviation that is not corrected: threads and networks are not more exact."""
JUMP_SECONDS = 0.02
"""Deviation that is corrected at once. It is no drift: sound was lost, or the first arrivals were late."""
BLOCKS_A_STEP = 5
"""A smaller one is corrected by one sample in this many blocks, which the echo canceller follows."""


class Reference:
    """The played sound of the last seconds, in mono, at one rate. What was not played is silence.

    Args:
        rate: Samples a second (Hz).
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        """Samples a second (Hz)."""
        self._line = np.zeros(KEPT_SECONDS * rate, np.int16)  # a ring
        self._end = 0  # position after the last sample that is known
        self._sounds_until = -math.inf  # position after the last report with samples
        self._input_end = 0.0  # where the next report continues the last one, in samples of its own rate
        self._input_rate = 0
        self._resample: Resample | None = None

    def add(self, played: PlayedSound) -> None:
        """Note what sounds from a time on. It replaces what was known for that time and later.

        Args:
            played: The report.
        """
        start = played.start_seconds * played.rate
        off = start - self._input_end
        if played.rate != self._input_rate or off < -ROUNDING or not len(played.samples):
            # Announced sound that was cut must not come out of the converter any more.
            self._input_rate = played.rate
            self._resample = Resample(self.rate) if played.rate != self.rate else None
            self._cut(round(played.start_seconds * self.rate))
            self._input_end = start
        elif off > ROUNDING:
            self._input_end = start
        if not len(played.samples):
            return
        pts = round(self._input_end * SECOND / played.rate)
        self._input_end += len(played.samples)
        sound = Audio(mix_channels(played.samples, 1), played.rate, pts=pts)
        if self._resample is None:
            self._write(round(pts * self.rate / SECOND), sound.samples)
            return
        for piece in self._resample.process(sound):
            assert isinstance(piece, Audio)
            self._write(round(piece.pts * self.rate / SECOND), piece.samples)

    def read(self, start: int, count: int) -> Samples:
        """Return the sound of a stretch.

        Args:
            start: Position of its first sample, counted from the clock's 0 s.
            count: Number of samples.
        """
        places = np.arange(start, start + count)
        known = (places < self._end) & (places >= self._end - len(self._line))
        return np.where(known, self._line[places % len(self._line)], 0).astype(np.int16)

    def silent_since(self, position: int) -> bool:
        """Return whether nothing sounds from a position on, as far as it is known.

        Args:
            position: The position.
        """
        return self._sounds_until <= position

    def _write(self, at: int, samples: Samples) -> None:
        if abs(at - self._end) <= ROUNDING:
            at = self._end
        if at > self._end:  # a gap, of which only the last part matters
            self._put(np.zeros(min(at - self._end, len(self._line)), np.int16), at)
        elif at < self._end:
            self._cut(at)
        self._put(samples[-len(self._line) :], at + len(samples))
        self._sounds_until = self._end

    def _put(self, samples: Samples, end: int) -> None:
        self._line[np.arange(end - len(samples), end) % len(self._line)] = samples
        self._end = end

    def _cut(self, at: int) -> None:
        """Forget what is known from a position on."""
        self._sounds_until = min(self._sounds_until, at)
        if at < self._end:
            self._put(np.zeros(min(self._end - at, len(self._line)), np.int16), self._end)
            self._end = max(at, self._end - len(self._line))


class MicrophoneClock:
    """Finds the position of the microphone's samples: counted, so that it is even, and corrected by their arrival.

    Sound cannot arrive before it was heard. So of all arrivals the earliest says best when the samples were taken.
    Later ones are delays of threads and networks. The microphone's crystal is not the clock's: what drifts apart is
    corrected while nothing sounds, or sample by sample.

    Args:
        rate: Samples a second (Hz).
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._position: int | None = None
        self._late = math.inf  # least delay of an arrival in this window, in samples
        self._counted = 0  # samples in this window
        self._owed = 0  # samples by which the position is still to be moved
        self._blocks = 0

    def restart(self) -> None:
        """Note that sound was lost: the next arrival says where it goes on."""
        self._position = None

    def advance(self, count: int, waiting: int, now: float, *, silent: bool) -> int:
        """Return the position of samples that have arrived, and count them.

        Args:
            count: Number of samples.
            waiting: Number of samples after them that have arrived as well.
            now: The present time in seconds.
            silent: Whether nothing is heard now, so that a correction does no harm.
        """
        arrived = math.floor(now * self._rate)
        if self._position is None:
            self._position = arrived - waiting - count
            self._late, self._counted, self._owed = math.inf, 0, 0
        late = arrived - (self._position + count + waiting)
        if late < -JUMP_SECONDS * self._rate:
            self._move(late)
            late = 0
        self._late = min(self._late, late)
        self._counted += count
        if self._counted >= WINDOW_SECONDS * self._rate:
            if abs(self._late) > JUMP_SECONDS * self._rate or (silent and self._late):
                self._move(int(self._late))
            elif abs(self._late) > TOLERANCE_SECONDS * self._rate:
                self._owed = int(self._late)
            self._late, self._counted = math.inf, 0
        self._blocks += 1
        if self._owed and self._blocks % BLOCKS_A_STEP == 0:
            step = 1 if self._owed > 0 else -1
            self._position += step
            self._owed -= step
        start, self._position = self._position, self._position + count
        return start

    def _move(self, samples: int) -> None:
        assert self._position is not None
        self._position += samples
        self._owed = 0
