"""Which word of a text sounds when, found by what each sounds like alone. No I/O.

A voice tells how long each phoneme of a sentence is, but not which word it is of, and words run together ("of the",
"in a"). So the phonemes of each word alone are looked for among those of the sentence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import msgspec

from bargein.services.cascade.parts import Word

__all__ = ["Phrase", "placed"]

STRESS = ("ˈ", "ˌ")
LONGEST = 4_000
"""Sounds of a text, some thousand words: of a longer one the words are not looked for, which takes ever longer."""


class Phrase(msgspec.Struct):
    """A sentence as the voice makes it."""

    phonemes: Sequence[str]
    """What it is made of."""
    begins: list[int]
    """The phoneme with which each of its pieces begins."""
    pieces: list[str]
    """Its pieces: words of the text, or several that run together."""

    def words(self, alignments: Sequence[Any] | None, start: int, samples: int, rate: int) -> Iterator[Word]:
        """When each piece sounds. `alignments` are the phonemes' lengths, with one before and one after them."""
        if alignments is None or len(alignments) != len(self.phonemes) + 2:
            return
        ends = [start]
        for each in alignments:
            ends.append(min(ends[-1] + int(each.num_samples), start + samples))
        bounds = [*(ends[1 + at] for at in self.begins), start + samples]
        for text, begin, end in zip(self.pieces, bounds, bounds[1:], strict=False):
            yield Word(text=text, start_ms=1000 * begin / rate, end_ms=1000 * end / rate)


def placed(
    text: str, words: Sequence[tuple[int, int, Sequence[str]]], sentences: Sequence[Sequence[str]]
) -> list[Phrase]:
    """The words of a text in its sentences. Each is given as where it begins and ends, and what it sounds like alone.

    One that is not found there is said together with the one before it. In a very long text none is looked for.
    """
    heard = [
        (sound, at, place) for at, each in enumerate(sentences) for place, sound in enumerate(each) if _is_speech(sound)
    ]
    alone = [
        (sound, at, place) for at, word in enumerate(words) for place, sound in enumerate(filter(_is_speech, word[2]))
    ]
    if max(len(alone), len(heard)) > LONGEST:
        return [Phrase(each, [], []) for each in sentences]
    found: dict[int, tuple[int, int]] = {}  # where in `heard` a sound of the word is, and how many come before it
    matcher = SequenceMatcher(None, [each[0] for each in heard], [each[0] for each in alone], autojunk=False)
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            _, word, place = alone[block.b + step]
            found.setdefault(word, (block.a + step, place))
    phrases = [Phrase(each, [], []) for each in sentences]
    last, begin, current = -1, 0, Phrase([], [], [])
    for at, (start, end, _) in enumerate(words if heard else ()):
        place, before = found.get(at, (-1, 0)) if at else (0, 0)
        if place > last:
            last, begin = max(place - before, last + 1), start
            current = phrases[heard[last][1]]
            current.begins.append(_stressed(current.phonemes, heard[last][2]))
            current.pieces.append("")
        current.pieces[-1] = text[begin:end]
    return phrases


def _stressed(phonemes: Sequence[str], at: int) -> int:
    """Where a syllable begins: with its stress."""
    while at and phonemes[at - 1] in STRESS:
        at -= 1
    return at


def _is_speech(sound: str) -> bool:
    """No stress, length, pause or mark of punctuation."""
    return sound[:1].isalnum() and unicodedata.category(sound[0]) != "Lm"
