"""Which word of a text sounds when, found by the phonemes of each word alone. No I/O.

A voice reports how long each phoneme of a sentence is, but not which word it belongs to, and words run together ("of
the", "in a"). So the phonemes that each word has alone are searched for among those of the sentence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Protocol

import msgspec

from bargein.services.cascade.parts import Word

__all__ = ["PhonemeLength", "Phrase", "align_words"]

STRESS = ("ˈ", "ˌ")
MAX_PHONEMES = 4_000
"""Phonemes of a text, about a thousand words. Of a longer text no words are searched: the time grows with the
square."""


class PhonemeLength(Protocol):
    """The length of a phoneme, as the library reports it."""

    @property
    def num_samples(self) -> int:
        """Number of samples."""


class Phrase(msgspec.Struct):
    """A sentence as the voice speaks it."""

    phonemes: Sequence[str]
    """The phonemes of the sentence."""
    begins: list[int]
    """The index of the phoneme with which each piece begins."""
    pieces: list[str]
    """Pieces of the text: single words, or several that run together."""

    def words(self, alignments: Sequence[PhonemeLength] | None, start: int, samples: int, rate: int) -> Iterator[Word]:
        """Yield each piece with its time.

        Args:
            alignments: The length of each phoneme, with one before the first and one after the last; None if the voice
                does not report lengths.
            start: The sample of the text at which the sentence begins.
            samples: The samples of the sentence.
            rate: Samples per second.
        """
        if alignments is None or len(alignments) != len(self.phonemes) + 2:
            return
        ends = [start]
        for each in alignments:
            ends.append(min(ends[-1] + int(each.num_samples), start + samples))
        bounds = [*(ends[1 + at] for at in self.begins), start + samples]
        for text, begin, end in zip(self.pieces, bounds, bounds[1:], strict=False):
            yield Word(text=text, start_ms=1000 * begin / rate, end_ms=1000 * end / rate)


def align_words(
    text: str, words: Sequence[tuple[int, int, Sequence[str]]], sentences: Sequence[Sequence[str]]
) -> list[Phrase]:
    """Return the sentences of a text with the words in them.

    A word that is not found is joined to the word before it. In a very long text no words are searched.

    Args:
        text: The text.
        words: Each word's beginning and end in the text, and its phonemes alone.
        sentences: The phonemes of each sentence.
    """
    spoken = [
        (sound, at, place) for at, each in enumerate(sentences) for place, sound in enumerate(each) if _is_speech(sound)
    ]
    alone = [
        (sound, at, place) for at, word in enumerate(words) for place, sound in enumerate(filter(_is_speech, word[2]))
    ]
    if max(len(alone), len(spoken)) > MAX_PHONEMES:
        return [Phrase(each, [], []) for each in sentences]
    found: dict[
        int, tuple[int, int]
    ] = {}  # of each word: where in `spoken` one of its phonemes is, and which one it is
    matcher = SequenceMatcher(None, [each[0] for each in spoken], [each[0] for each in alone], autojunk=False)
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            _, word, place = alone[block.b + step]
            found.setdefault(word, (block.a + step, place))
    phrases = [Phrase(each, [], []) for each in sentences]
    last, begin, current = -1, 0, Phrase([], [], [])
    for at, (start, end, _) in enumerate(words if spoken else ()):
        place, before = found.get(at, (-1, 0)) if at else (0, 0)
        if place > last:
            last, begin = max(place - before, last + 1), start
            current = phrases[spoken[last][1]]
            current.begins.append(_syllable_start(current.phonemes, spoken[last][2]))
            current.pieces.append("")
        current.pieces[-1] = text[begin:end]
    return phrases


def _syllable_start(phonemes: Sequence[str], at: int) -> int:
    """Return where the syllable of a phoneme begins: with its stress mark, if it has one."""
    while at and phonemes[at - 1] in STRESS:
        at -= 1
    return at


def _is_speech(sound: str) -> bool:
    """Return whether a phoneme is a sound, and not a stress, a length, a pause or punctuation."""
    return sound[:1].isalnum() and unicodedata.category(sound[0]) != "Lm"
