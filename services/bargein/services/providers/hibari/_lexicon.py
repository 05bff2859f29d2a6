"""The pronunciation of English words: two lists of words, endings, letters, and a network for all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["MAIN", "SIDE", "Entry", "Lexicon", "add_stress", "begins_with_vowel"]

Entry = str | dict[str, str | None] | None
"""The phonemes of a word, or those of each part of speech."""

VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
CONSONANTS = frozenset("bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθT")
FLAPPING = frozenset("AIOWYiuæɑəɛɪɹʊʌ")
"""After these an American t between vowels is tapped, as in "waited"."""
MAIN, SIDE = "ˈ", "ˌ"
PARTS = (("VB", "VERB"), ("NN", "NOUN"), ("RB", "ADV"), ("JJ", "ADJ"))
MAX_SPELLED = 8
"""The longest word, in letters, that is spelled because it looks like no word."""
MAX_CACHED = 5_000


class Lexicon:
    """Finds how a word sounds.

    Args:
        lists: The lists of words, the most reliable first.
        guess: Returns the phonemes of a word that is in none of them.
    """

    def __init__(self, lists: tuple[Mapping[str, Entry], ...], guess: Callable[[str], str]) -> None:
        self._lists = lists
        self._guess = guess
        self._guessed: dict[str, str] = {}

    def find(self, word: str, tag: str, before_vowel: bool | None) -> str:
        """Return the phonemes of a word.

        Args:
            word: Letters and apostrophes.
            tag: Its part of speech.
            before_vowel: Whether the next word begins with a vowel; None if a pause follows.
        """
        if word.endswith("'"):
            word = word[:-1] + ("g" if word.endswith("in'") else "")
        small = _small_word(word, tag, before_vowel)
        if small is not None:
            return small
        if 1 < len(word) <= MAX_SPELLED and word.isupper() and self._entry(word) is None:
            # "NASA" is a word if a list has it as such. "IBM" is spelled, and so is what the lists know as no word.
            if tag == "NNP" or self._entry(word.lower()) is None:
                return self._spell(word)
            return add_stress(self._known(word.lower(), tag, before_vowel) or "", MAIN)
        found = self._known(word, tag, before_vowel) or self._known(word.lower(), tag, before_vowel)
        if found is None:
            if len(word) == 1 or (len(word) <= MAX_SPELLED and not re.search("[aeiouyAEIOUY]", word)):
                return self._spell(word)
            found = self._guess_once(word)
        return add_stress(found, SIDE) if word[0].isupper() else found

    def _known(self, word: str, tag: str, before_vowel: bool | None) -> str | None:
        """Return the phonemes of a word of the lists, or of one with an ending."""
        if (entry := self._entry(word)) is not None:
            return _choose(entry, tag, before_vowel)
        for ending, replaced, join in _ENDINGS:
            if word.endswith(ending) and len(word) > len(ending) + 1:
                for stem in (word[: -len(ending)] + each for each in replaced):
                    if (entry := self._entry(stem)) is not None and (sound := _choose(entry, tag, before_vowel)):
                        return join(sound)
        return None

    def _entry(self, word: str) -> Entry:
        for each in self._lists:
            if (entry := each.get(word)) is not None:
                return entry
            # A list has many words in one form of "word" and "Word" only.
            other = word.capitalize() if word.islower() else word.lower() if word[1:].islower() else None
            if other is not None and len(word) > 1 and (entry := each.get(other)) is not None:
                return entry
        return None

    def _spell(self, word: str) -> str:
        """Return the names of the letters, with the stress on the last."""
        names = [
            _choose(entry, "NN", None) or ""
            for letter in word
            if (entry := self._lists[0].get(letter.upper())) is not None
        ]
        if not names:
            return self._guess_once(word)
        return "".join(each.replace(MAIN, SIDE) for each in names[:-1]) + add_stress(names[-1], MAIN)

    def _guess_once(self, word: str) -> str:
        if word not in self._guessed:
            if len(self._guessed) >= MAX_CACHED:
                self._guessed.clear()
            self._guessed[word] = self._guess(word)
        return self._guessed[word]


def add_stress(sound: str, mark: str) -> str:
    """Return phonemes with at least one stress.

    Args:
        sound: The phonemes.
        mark: The stress. A main stress replaces a side stress.
    """
    if mark == MAIN and MAIN not in sound and SIDE in sound:
        return sound.replace(SIDE, MAIN, 1)
    if MAIN in sound or SIDE in sound:
        return sound
    at = next((at for at, each in enumerate(sound) if each in VOWELS), None)
    return sound if at is None else sound[:at] + mark + sound[at:]


def begins_with_vowel(sound: str) -> bool | None:
    """Return whether phonemes begin with a vowel; None if there is no sound in them."""
    first = next((each for each in sound if each in VOWELS or each in CONSONANTS), None)
    return None if first is None else first in VOWELS


def _choose(entry: Entry, tag: str, before_vowel: bool | None) -> str | None:
    """Return the phonemes of an entry for a part of speech."""
    if not isinstance(entry, dict):
        return entry
    if before_vowel is None and entry.get("None"):  # how it sounds before a pause
        return entry["None"]
    part = next((part for start, part in PARTS if tag.startswith(start)), tag)
    return entry.get(tag) or entry.get(part) or entry.get("DEFAULT")


def _small_word(word: str, tag: str, before_vowel: bool | None) -> str | None:
    """Return how a small word sounds in its place; None for any other word."""
    match word.lower() if word[1:].islower() or len(word) == 1 else word:
        case "a":
            return "ɐ" if tag == "DT" else "ˈA"
        case "an":
            return "ɐn"
        case "i" if word == "I" and tag == "PRP":
            return "ˌI"
        case "am" if before_vowel is not None:
            return "ɐm"
        case "the":
            return "ði" if before_vowel else "ðə"
        case "to" if before_vowel is not None:
            return "tʊ" if before_vowel else "tə"
        case "in":
            return "ɪn" if before_vowel is not None and tag == "IN" else "ˈɪn"
    return None


def _join_s(stem: str) -> str:
    last = stem[-1]
    return stem + ("s" if last in "ptkfθ" else "ᵻz" if last in "szʃʒʧʤ" else "z")


def _join_ed(stem: str) -> str:
    last = stem[-1]
    if last == "t" and stem[-2:-1] in FLAPPING:
        return stem[:-1] + "Tᵻd"
    return stem + ("ᵻd" if last in "td" else "t" if last in "pkfθʃsʧ" else "d")


def _join_ing(stem: str) -> str:
    return (stem[:-1] + "T" if stem[-1] == "t" and stem[-2:-1] in FLAPPING else stem) + "ɪŋ"


_ENDINGS: tuple[tuple[str, tuple[str, ...], Callable[[str], str]], ...] = (
    ("'s", ("",), _join_s),
    ("s", ("",), _join_s),
    ("ies", ("y",), _join_s),
    ("es", ("",), _join_s),
    ("ied", ("y",), _join_ed),
    ("ed", ("e", ""), _join_ed),
    ("ing", ("", "e"), _join_ing),
    *((2 * each + "ed", (each,), _join_ed) for each in "bdgklmnprtvz"),
    *((2 * each + "ing", (each,), _join_ing) for each in "bdgklmnprtvz"),
)
"""Each ending, what may stand in its place in the word without it, and how it is joined to the sound."""
