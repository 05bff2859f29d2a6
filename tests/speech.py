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


UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SPELLINGS = {"okay": "ok", "cannot": "can not", "can't": "can not", "anymore": "any more"}
"""Words that are the same to a listener, and are written in two ways."""


def words(text: str) -> list[str]:
    """The words of a text, in lower case. "12" is "twelve", and what sounds alike counts as the same word."""
    lower = text.lower().replace("’", "'")
    lower = re.sub(r"(?<=\d),(?=\d{3}\b)", "", lower)  # 1,200
    lower = re.sub(r"(\d):00\b", r"\1", lower)  # 8:00
    lower = re.sub(r"\d+", lambda found: f" {spell(found[0])} ", lower)
    found = re.sub(r"[^a-z' ]", " ", lower).split()
    return [word for each in found for word in SPELLINGS.get(each, each).split()]


def spell(digits: str) -> str:
    """A number in words. Long ones, and those that begin with 0, are read digit by digit."""
    number = int(digits)
    if len(digits) > 3 or (digits[0] == "0" and number):
        return " ".join(UNITS[int(digit)] for digit in digits)
    if number < 20:
        return UNITS[number]
    if number < 100:
        return TENS[number // 10] + (f" {UNITS[number % 10]}" if number % 10 else "")
    return f"{UNITS[number // 100]} hundred" + (f" {spell(str(number % 100))}" if number % 100 else "")


def errors(said: list[str], heard: list[str]) -> int:
    """Words that are wrong, missing or too many."""
    row = list(range(len(heard) + 1))
    for at, one in enumerate(said, 1):
        corner, row[0] = row[0], at
        for to, other in enumerate(heard, 1):
            corner, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, corner + (one != other))
    return row[-1]
