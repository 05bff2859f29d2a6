"""The ears of scripted servers: speech is what is loud."""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["LoudnessVad"]

RATE = 16_000
BLOCK = RATE // 50
LOUD = 300.0
"""The root mean square of 20 ms of speech, at least."""
ONSET = 4
"""So many loud blocks begin it."""
PAUSE = 40
"""And so many quiet ones end it."""


class LoudnessVad:
    """Finds the beginning and the end of speech in 16-bit mono PCM at 16 kHz, by its loudness alone."""

    def __init__(self) -> None:
        self._rest = b""
        self._loud = self._quiet = 0
        self._speaks = False

    def hear(self, pcm: bytes) -> Literal["", "began", "over"]:
        """What the latest change in this sound was."""
        self._rest += pcm
        heard: Literal["", "began", "over"] = ""
        while len(self._rest) >= 2 * BLOCK:
            block, self._rest = self._rest[: 2 * BLOCK], self._rest[2 * BLOCK :]
            loud = float(np.sqrt(np.mean(np.frombuffer(block, "<i2").astype(np.float64) ** 2))) > LOUD
            self._loud = self._loud + 1 if loud else 0
            self._quiet = 0 if loud else self._quiet + 1
            if not self._speaks and self._loud >= ONSET:
                self._speaks, heard = True, "began"
            elif self._speaks and self._quiet >= PAUSE:
                self._speaks, heard = False, "over"
        return heard

    def stop(self) -> bool:
        """No more will come for now; whether there was speech that this ends."""
        spoke, self._speaks = self._speaks, False
        self._loud = self._quiet = 0
        self._rest = b""
        return spoke
