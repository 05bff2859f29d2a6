"""From a text to phonemes, and which of them belong to which word. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from ._lexicon import MAIN, SIDE, Lexicon, begins_with_vowel

__all__ = ["PHONEMES", "Part", "Reader", "SpokenWord"]

PHONEMES = frozenset("AIOQSTWYabdefhijklmnpqrstuvwxyzæðŋɑɐɒɔəɚɛɜɡɪɹɾʃʊʌʒʔʤʧˈˌːθᵊᵻ ")
"""What a pronunciation may consist of: the alphabet of the voice for English."""
TOKEN = re.compile(r"[^\W\d_]+(?:['’](?:[^\W\d_]+|(?!\w)))*|\d|[.,:](?!\w)|[;!?—–…()“”]|(?<=\s)-(?=\s)|[%&+@=$€£#]")
SENTENCE_END, CLAUSE_END = frozenset(".!?…"), frozenset(",;:—…)")
MARKS = SENTENCE_END | CLAUSE_END | frozenset("(“”")
FIRST_PHONEMES, MIN_PHONEMES, MAX_PHONEMES = 40, 100, 240
"""Phonemes after which the first part of a text ends with a clause, those of a further part, and the most of any part.
A short first part is heard sooner: the network takes about 0.4 ms for each phoneme."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CHARACTERS = {
    **{str(number): word for number, word in enumerate(DIGITS)},
    "%": "percent",
    "&": "and",
    "+": "plus",
    "@": "at",
    "=": "equals",
    "#": "number",
    "$": "dollars",
    "€": "euros",
    "£": "pounds",
}
"""What is read for a character that is no letter."""


class SpokenWord(msgspec.Struct, frozen=True):
    """A word of a text, and where its phonemes are in those of its part."""

    text: str
    start: int
    end: int


class Part(msgspec.Struct):
    """What is spoken at once: a sentence, or a clause of a long one."""

    phonemes: str = ""
    words: list[SpokenWord] = msgspec.field(default_factory=list)


class _Tags(Protocol):
    def tag(self, words: list[str]) -> list[str]: ...


class Reader:
    """Reads English texts.

    Args:
        lexicon: Knows how words sound.
        tagger: Knows the part of speech of each word.
        pronunciations: How words of one's own sound: phonemes between slashes, or other words to read instead. The
            words are compared without case.
    """

    def __init__(self, lexicon: Lexicon, tagger: _Tags, pronunciations: Mapping[str, str]) -> None:
        self._lexicon = lexicon
        self._tagger = tagger
        self._own = {word.casefold(): sound for word, sound in pronunciations.items()}

    def read(self, text: str) -> Iterator[Part]:
        """Yield the parts of a text, in order.

        Args:
            text: The text. What is neither a letter nor a digit nor punctuation is passed over.
        """
        part, first, before = Part(), True, 0
        for start, end, sound in self._sounds(text):
            if sound in MARKS:
                if not part.words:
                    continue
                part.phonemes += sound
            else:
                if text[before:start] == "-" and part.words:  # of "twenty-one" the last word has the main stress
                    last = part.words[-1].start
                    part.phonemes = part.phonemes[:last] + part.phonemes[last:].replace(MAIN, SIDE)
                elif part.phonemes and part.phonemes[-1] not in "(“":
                    part.phonemes += " "
                at = len(part.phonemes)
                part.phonemes += sound
                part.words.append(SpokenWord(text[start:end], at, len(part.phonemes)))
            before, length = end, len(part.phonemes)
            is_end = sound in SENTENCE_END and not text[end : end + 1].strip()
            is_clause = sound in CLAUSE_END and length >= (FIRST_PHONEMES if first else MIN_PHONEMES)
            if is_end or is_clause or length >= MAX_PHONEMES:
                yield part
                part, first = Part(), False
        if part.words:
            yield part

    def _sounds(self, text: str) -> list[tuple[int, int, str]]:
        """Return each word and mark with its place and its phonemes. A word that has no sound is left out."""
        tokens = [(*each.span(), each[0].replace("’", "'")) for each in TOKEN.finditer(text)]
        if not tokens:
            return []
        words = [CHARACTERS.get(word, word) for _, _, word in tokens]
        result = []
        before_vowel: bool | None = None
        # From the end: how "the" and "to" sound depends on the next word.
        for (start, end, token), word, tag in reversed(list(zip(tokens, words, self._tagger.tag(words), strict=True))):
            sound = "—" if token in "–-—" else token if token in MARKS else self._sound(word, tag, before_vowel)
            before_vowel = begins_with_vowel(sound)
            if sound:
                result.append((start, end, sound))
        return result[::-1]

    def _sound(self, word: str, tag: str, before_vowel: bool | None) -> str:
        own = self._own.get(word.casefold())
        if own is None and word.casefold().endswith("'s"):
            own = self._own.get(word[:-2].casefold())
            own = own and (f"/{own.strip('/')}z/" if own.startswith("/") else f"{own}'s")
        if own is None:
            return self._lexicon.find(word, tag, before_vowel)
        if own.startswith("/"):
            return own.strip("/")
        return " ".join(self._lexicon.find(each, "NN", False) for each in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", own))
