"""`LoudnessVad`: the speech detector of scripted servers. All loud sound counts as speech."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

__all__ = ["LoudnessVad"]

RATE: Final = 16_000
BLOCK_SAMPLES: Final = RATE // 50
SPEECH_RMS: Final = 300.0
"""Root mean square of a block of 20 ms from which it counts as speech."""
ONSET_BLOCKS: Final = 4
"""Loud blocks in a row that begin speech: 80 ms."""
PAUSE_BLOCKS: Final = 40
"""Quiet blocks in a row that end speech: 800 ms."""


class LoudnessVad:
    """Finds the beginning and the end of speech in 16-bit mono PCM at 16 kHz by its loudness alone."""

    def __init__(self) -> None:
        self._rest = b""
        self._loud_blocks = self._quiet_blocks = 0
        self._in_speech = False

    def process(self, pcm: bytes) -> Literal["", "started", "stopped"]:
        """Analyse more audio. Return the last change in it: speech has started or stopped, or `""` for no change."""
        self._rest += pcm
        change: Literal["", "started", "stopped"] = ""
        while len(self._rest) >= 2 * BLOCK_SAMPLES:
            block, self._rest = self._rest[: 2 * BLOCK_SAMPLES], self._rest[2 * BLOCK_SAMPLES :]
            rms = float(np.sqrt(np.mean(np.frombuffer(block, "<i2").astype(np.float64) ** 2)))
            self._loud_blocks = self._loud_blocks + 1 if rms > SPEECH_RMS else 0
            self._quiet_blocks = 0 if rms > SPEECH_RMS else self._quiet_blocks + 1
            if not self._in_speech and self._loud_blocks >= ONSET_BLOCKS:
                self._in_speech, change = True, "started"
            elif self._in_speech and self._quiet_blocks >= PAUSE_BLOCKS:
                self._in_speech, change = False, "stopped"
        return change

    def stop(self) -> bool:
        """Note that the audio stream has paused. Return whether speech was in progress, which ends."""
        was_speech, self._in_speech = self._in_speech, False
        self._loud_blocks = self._quiet_blocks = 0
        self._rest = b""
        return was_speech
