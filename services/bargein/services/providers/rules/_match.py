"""Matches patterns with slots against recognised speech, where words can be wrong, missing or too many. No I/O."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import Final

import msgspec

__all__ = ["Match", "find_pattern", "split_words"]

MIN_SCORE: Final = 0.62
"""The share of a pattern that must be found."""
COMMON_WEIGHT: Final = 0.15
"""The weight of a word that many sentences have; other words weigh 1."""
OUTER_COST: Final = 0.12
"""The cost of a word before or after the pattern."""
SLOT_WORDS: Final = 3
"""Words that a slot takes at most, unless it is written `{slot...}`."""
MAX_CHARACTERS: Final = 2_000
"""Characters of a text that are looked at, the last ones. Matching takes time in proportion."""
_WORD = re.compile(r"\{\w+(?:\.\.\.)?\}|\d+(?:[.,:]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*")
_FILLERS: Final = frozenset(re.findall(r"\w+", "uh um er erm hm hmm mm ah eh uhm mhm"))
_COMMON: Final = frozenset(
    re.findall(
        r"\w+",
        "a an the is are am was be do does did to of in at on for it its that this me i you my your we and or so "
        "then now what how can could would will please just tell well okay ok about there like right some with",
    )
)
_CONTRACTIONS: Final = {
    "what's": "what is", "whats": "what is", "how's": "how is", "it's": "it is", "that's": "that is",
    "who's": "who is", "where's": "where is", "i'm": "i am", "you're": "you are", "don't": "do not",
    "can't": "can not", "let's": "let us", "i'd": "i would", "name's": "name is",
}  # fmt: skip

_Best = tuple[float, tuple[tuple[str, int, int], ...]]
"""The cost of an alignment, and the places of its slots."""


class Match(msgspec.Struct, frozen=True):
    """A pattern that was found in a text."""

    score: float
    """How well it was found, from 0 to 1."""
    weight: float
    """The weight of the pattern's words."""
    slots: dict[str, str]
    """The words in its slots, as they were said."""


class _Word(msgspec.Struct, frozen=True):
    key: str
    """The word as it is compared."""
    text: str
    """The word as it was said."""


def split_words(text: str) -> list[_Word]:
    """Return the words of a text without fillers and punctuation, with contractions written out."""
    result: list[_Word] = []
    for word in _WORD.findall(text[-MAX_CHARACTERS:].replace("\u2019", "'")):
        key = word.lower()
        if whole := _CONTRACTIONS.get(key):
            result += [_Word(each, each) for each in whole.split()]
        elif key not in _FILLERS:
            result.append(_Word(key, word))
    return result


@lru_cache(maxsize=1024)
def _pattern_words(pattern: str) -> tuple[str, ...]:
    return tuple(each.key for each in split_words(pattern))


def _weight(word: str) -> float:
    return 0.0 if word.startswith("{") else COMMON_WEIGHT if word in _COMMON else 1.0


def _extra_cost(word: str, cost: float) -> float:
    """Return the cost of a word that the pattern does not have."""
    return 0.02 if word in _COMMON else cost


@lru_cache(maxsize=8192)
def _difference(wanted: str, word: str) -> float:
    """Return how different two words are: 0 for the same, 1 for different words."""
    if wanted == word:
        return 0.0
    if len(wanted) < 4 or len(word) < 3 or wanted in _COMMON:
        return 1.0
    likeness = difflib.SequenceMatcher(None, wanted, word, autojunk=False).ratio()
    return (1 - likeness) if likeness >= 0.7 else 1.0


def find_pattern(pattern: str, words: list[_Word]) -> Match | None:
    """Return the best alignment of a pattern with the words of a text, or None if too little of it is found.

    It is the edit distance of the two, with words before and after the pattern at a lower cost.
    """
    wanted = _pattern_words(pattern)
    weight = sum(_weight(word) for word in wanted) or COMMON_WEIGHT
    scale = max(weight, 2 * COMMON_WEIGHT)
    least = sum(_weight(word) * min((_difference(word, each.key) for each in words), default=1.0) for word in wanted)
    if 1 - least / scale < MIN_SCORE:  # most patterns are ruled out here, without the alignment
        return None
    # best[j]: the least cost of the pattern's words so far and the first j words that were said, with the slots' places
    best: list[_Best] = [(0.0, ())]
    for word in words:
        best.append((best[-1][0] + _extra_cost(word.key, OUTER_COST), ()))
    inner_cost = 0.5 if len(wanted) > 1 else OUTER_COST
    for at, each in enumerate(wanted, 1):
        row: list[_Best] = []
        for j in range(len(words) + 1):
            if each.startswith("{"):
                options = _slot_options(each, at, j, best)
            else:
                options = [(best[j][0] + _weight(each), best[j][1])]
                if j:
                    cost = _weight(each) * _difference(each, words[j - 1].key)
                    options.append((best[j - 1][0] + cost, best[j - 1][1]))
            if row:
                options.append((row[-1][0] + _extra_cost(words[j - 1].key, inner_cost), row[-1][1]))
            row.append(min(options, key=_cost, default=(1e9, ())))
        best = row
    found = best[0]
    for word, end in zip(words, best[1:], strict=True):
        found = min(end, (found[0] + _extra_cost(word.key, OUTER_COST), found[1]), key=_cost)
    score = 1 - found[0] / scale
    if score < MIN_SCORE:
        return None
    return Match(score, weight, {name: " ".join(each.text for each in words[i:j]) for name, i, j in found[1]})


def _cost(option: _Best) -> float:
    return option[0]


def _slot_options(slot: str, at: int, j: int, best: list[_Best]) -> list[_Best]:
    """Return the ways in which a slot can end before word `j`."""
    name = slot.strip("{}.")
    count, cost = (j, 0.0) if slot.endswith("...}") else (min(j, SLOT_WORDS), 0.05 + 0.01 / at)
    return [(best[j - n][0] + cost * (n - 1), (*best[j - n][1], (name, j - n, j))) for n in range(1, count + 1)]
