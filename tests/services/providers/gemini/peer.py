"""The scripted server with chance: replies of any length, pauses anywhere, and sound that tells whose it is."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt

from bargein.services.providers.gemini import GeminiLive
from bargein.services.testing import ScriptedGemini

WORD_MS = 500
"""Each word sounds so long: about what seven letters take."""


def word(turn: int, at: int) -> str:
    """A word that occurs once."""
    first, second = chr(ord("a") + turn % 26), chr(ord("a") + at % 26)
    return f"{first}word{second}{second}"


class SeededGemini(ScriptedGemini):
    """Each turn has 3 to 12 words; the samples of turn n are n + 1."""

    def __init__(self, seed: int, *, pace_seconds: float = 0.02) -> None:
        super().__init__(word_ms=WORD_MS, pace_seconds=pace_seconds)
        self.random = Random(seed)

    def model(self, **options: Any) -> GeminiLive:
        """A model that talks to this server."""
        return GeminiLive(api_key="key", connect=self.connect, **options)

    def audio(self, turn: int, samples: int) -> npt.NDArray[np.int16]:
        return np.full(samples, turn + 1, np.int16)

    def next_reply(self, turn: int = 0) -> str:
        return " ".join(word(turn, at) for at in range(self.random.randint(3, 12)))

    async def pause(self) -> None:
        await anyio.sleep(self.random.choice((0.0, 0.0, self.pace_seconds)))
