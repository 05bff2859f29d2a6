"""The sound of an utterance, and when to transcribe it."""

from __future__ import annotations

import numpy as np

from bargein.pipeline.lowlevel import Samples
from bargein.services.providers._shared.log_mel import RATE

__all__ = ["SoundSoFar"]

QUIET_SAMPLES = RATE // 5
"""Silence after which the sound so far is transcribed: 200 ms. A turn usually ends after 500 ms, and a transcription
takes about 200 ms, so the words are there when the turn ends."""
FRAME = RATE // 50
"""Samples whose loudness is measured at once: 20 ms."""
QUIET = 0.05
"""Loudness below which a frame is silence, as a share of the loudest frame: -26 dB."""


class SoundSoFar:
    """The sound of an utterance so far, and how long it has been quiet at its end."""

    def __init__(self) -> None:
        self.pieces: list[Samples] = []
        self._quiet_samples = 0
        self._rest: Samples = np.empty(0, np.int16)
        self._loudest = 0.0

    @property
    def spoken(self) -> bool:
        """Whether there is anything but digital silence."""
        return any(piece.any() for piece in self.pieces)

    @property
    def paused(self) -> bool:
        """Whether it has been quiet for 200 ms."""
        return self._quiet_samples >= QUIET_SAMPLES

    @property
    def loud(self) -> bool:
        """Whether its last 20 ms are loud."""
        return not self._quiet_samples

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return sum(map(len, self.pieces)) / RATE

    def forget(self) -> None:
        """Drop the sound, and keep what is known of its loudness."""
        self.pieces, self._quiet_samples = [], 0

    def add(self, samples: Samples) -> bool:
        """Add sound. Return whether any of it is loud."""
        self.pieces.append(samples)
        sound = np.concatenate((self._rest, samples))
        count = len(sound) // FRAME
        frames, self._rest = sound[: count * FRAME].reshape(count, FRAME), sound[count * FRAME :]
        loud = False
        for level in np.sqrt((frames.astype(np.float32) ** 2).mean(axis=1)):
            self._loudest = max(self._loudest, float(level))
            if level > QUIET * self._loudest:
                loud, self._quiet_samples = True, 0
            else:
                self._quiet_samples += FRAME
        return loud
