"""The synthesised speech in `tests/data/speech`, with what is said and when."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent / "data" / "speech"
RATE = 16_000


class Utterance(msgspec.Struct, frozen=True):
    """One file."""

    name: str
    voice: str
    text: str
    ms: int
    speech_ms: list[tuple[int, int]]
    """Where there is speech, in milliseconds from the beginning of the file."""

    @property
    def samples(self) -> npt.NDArray[np.int16]:
        with wave.open(str(FOLDER / f"{self.name}.wav")) as file:
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)


@cache
def utterances() -> dict[str, Utterance]:
    index = (FOLDER / "speech.json").read_bytes()
    return {each.name: each for each in msgspec.json.decode(index, type=list[Utterance])}
