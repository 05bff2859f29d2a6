"""The synthesised speech in `tests/data/speech`, with what is said and when."""

from __future__ import annotations

import re
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


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def errors(said: list[str], heard: list[str]) -> int:
    """Words that are wrong, missing or too many."""
    row = list(range(len(heard) + 1))
    for at, one in enumerate(said, 1):
        corner, row[0] = row[0], at
        for to, other in enumerate(heard, 1):
            corner, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, corner + (one != other))
    return row[-1]
