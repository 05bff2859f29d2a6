"""Patterns with slots against what a recogniser has heard: words may be wrong, missing or too many. No I/O."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import Final

import msgspec

__all__ = ["Found", "match", "tokens"]

ENOUGH: Final = 0.62
"""The share of a pattern that must be there."""
SMALL: Final = 0.15
"""What a word weighs that every sentence has."""
SLOT_WORDS: Final = 3
"""How many words a slot takes, unless it is written `{slot...}`."""
LONGEST: Final = 2_000
"""Of what was said so many characters are looked at, the last: to match more takes longer than anybody would wait."""
_WORD = re.compile(r"\{\w+(?:\.\.\.)?\}|\d+(?:[.,:]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|\*\*|[-+*/^()%×÷]")
_FILLERS: Final = frozenset(("uh", "um", "er", "erm", "hm", "hmm", "mm", "ah", "eh", "uhm", "mhm"))
_COMMON: Final = frozenset(
    (
        "a", "an", "the", "is", "are", "am", "was", "be", "do", "does", "did", "to", "of", "in", "at", "on", "for",
        "it", "its", "that", "this", "me", "i", "you", "my", "your", "we", "and", "or", "so", "then", "now",
        "what", "how",
        "can", "could", "would", "will", "please", "just", "tell", "well", "okay", "ok", "about", "there", "like",
        "right", "some", "with",
    )
)  # fmt: skip
_SHORT: Final = {
    "what's": "what is", "whats": "what is", "how's": "how is", "hows": "how is", "it's": "it is", "that's": "that is",
    "who's": "who is", "where's": "where is", "i'm": "i am", "im": "i am", "you're": "you are", "i've": "i have",
    "don't": "do not", "can't": "can not", "cannot": "can not", "let's": "let us", "i'd": "i would",
    "name's": "name is", "there's": "there is", "we're": "we are",
}  # fmt: skip


class Found(msgspec.Struct, frozen=True):
    """A pattern was found."""

    score: float
    """How well, 0 to 1."""
    weight: float
    """How much the pattern says."""
    slots: dict[str, str]
    """What stands in its slots, as it was said."""


class _Token(msgspec.Struct, frozen=True):
    word: str
    """As it is compared."""
    said: str
    """As it was said."""


def tokens(text: str) -> list[_Token]:
    """The words of what was said: no fillers, no punctuation, nothing contracted."""
    made: list[_Token] = []
    for said in _WORD.findall(text[-LONGEST:].replace("\u2019", "'")):
        low = said.lower()
        if low in _FILLERS:
            continue
        whole = _SHORT.get(low)
        if whole:
            made += [_Token(word, word) for word in whole.split()]
        else:
            made.append(_Token(low, said))
    return made


@lru_cache(maxsize=1024)
def _pattern(text: str) -> tuple[str, ...]:
    return tuple(each.word for each in tokens(text))


def _slot(word: str) -> str:
    return word.strip("{}.") if word.startswith("{") else ""


def _weight(word: str) -> float:
    return 0.0 if _slot(word) else SMALL if word in _COMMON else 1.0


@lru_cache(maxsize=8192)
def _unlike(meant: str, heard: str) -> float:
    """How unlike two words are, 0 to 1; much unlike is another word."""
    if meant == heard:
        return 0.0
    if len(meant) < 4 or len(heard) < 3 or meant in _COMMON:
        return 1.0
    likeness = difflib.SequenceMatcher(None, meant, heard, autojunk=False).ratio()
    return (1 - likeness) if likeness >= 0.7 else 1.0


def match(pattern: str, said: list[_Token]) -> Found | None:
    """Find a pattern in what was said, or None: the cheapest alignment of the two, with more words around it."""
    wanted = _pattern(pattern)
    weight = sum(_weight(word) for word in wanted) or SMALL
    least = sum(_weight(word) * min((_unlike(word, each.word) for each in said), default=1.0) for word in wanted)
    if 1 - least / max(weight, 2 * SMALL) < ENOUGH:  # most patterns are far from most words
        return None
    # best[j]: the least cost with the pattern's words so far laid upon the first j of those said, and the slots' places
    best: list[tuple[float, tuple[tuple[str, int, int], ...]]] = [(0.0, ())]
    for token in said:
        best.append((best[-1][0] + _extra(token.word, 0.12), ()))
    inner = 0.5 if len(wanted) > 1 else 0.12
    for at, word in enumerate(wanted, 1):
        name, row = _slot(word), list[tuple[float, tuple[tuple[str, int, int], ...]]]()
        for j in range(len(said) + 1):
            if name:
                most, each = (j, 0.0) if word.endswith("...}") else (min(j, SLOT_WORDS), 0.05 + 0.01 / at)
                options = [
                    (best[j - n][0] + each * (n - 1), best[j - n][1] + ((name, j - n, j),)) for n in range(1, most + 1)
                ]
            else:
                options = [(best[j][0] + _weight(word), best[j][1])]
                if j:
                    cost = _weight(word) * _unlike(word, said[j - 1].word)
                    options.append((best[j - 1][0] + cost, best[j - 1][1]))
            if j and row:
                options.append((row[j - 1][0] + _extra(said[j - 1].word, inner), row[j - 1][1]))
            row.append(min(options, key=lambda option: option[0]) if options else (1e9, ()))
        best = row
    behind, cost, places = 0.0, 1e9, best[-1][1]
    for j in range(len(said), -1, -1):
        if best[j][0] + behind < cost:
            cost, places = best[j][0] + behind, best[j][1]
        behind += _extra(said[j - 1].word, 0.12) if j else 0.0
    score = 1 - cost / max(weight, 2 * SMALL)
    if score < ENOUGH:
        return None
    slots = {name: " ".join(each.said for each in said[start:end]) for name, start, end in places}
    return Found(score, weight, slots)


def _extra(word: str, cost: float) -> float:
    """What a word costs that no pattern asks for."""
    return 0.02 if word in _COMMON else cost
