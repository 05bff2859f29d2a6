"""Compares what was said with example phrases. Words can be wrong, missing, too many, or in another order. No I/O."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

__all__ = ["find_matches", "split_words"]

MIN_SCORE: Final = 0.65
"""The least score of a match. A phrase with one telling word stays below it if an unknown word stands beside."""
COMMON_WEIGHT: Final = 0.15
"""The weight of a word that many sentences have. Other words weigh 1."""
EXTRA_COST: Final = 0.6
"""What a word costs that the phrase does not have, as a share of its weight."""
SLOT_WORDS: Final = 3
"""Words that a slot takes at most, unless it is written `{slot...}`."""
MAX_WORDS: Final = 40
"""Words of a text that are looked at, the last ones. Comparing takes time in proportion."""
_WORD = re.compile(r"\{\w+(?:\.\.\.)?\}|\d+(?:[.,:]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|\*\*|[-+*/^()%×÷]")
_FILLERS: Final = frozenset(["uh", "um", "er", "erm", "hm", "hmm", "mm", "ah", "eh", "uhm", "mhm", "please"])
_NEGATIONS: Final = frozenset(["not", "never", "without"])
_COMMON: Final = frozenset(
    re.findall(
        r"\w+",
        "a an the is are am was be do does did to of in at on for it its that this there here i me my you your we "
        "us and or so then but what which how who where can could will would should may shall just tell say well "
        "okay ok oh about like right some any with have got get hello hi hey thank thanks much very really now "
        "today day currently exactly again want know let need give yes yeah no sorry little bit more maybe good "
        "nice friend going",
    )
)
_CONTRACTIONS: Final = (
    (r"\b(what|how|that|who|where|today)'?s\b|(?<=\w)'s\b", r"\1 is"),
    (r"\bi'?m\b", "i am"), (r"(?<=\w)'re\b", " are"), (r"\bcan'?t\b|\bcannot\b", "can not"),
    (r"(?<=\w)n't\b", " not"), (r"\b(do|did|does|is|are)nt\b", r"\1 not"), (r"(?<=\w)'(d|ve|ll)\b", ""),
)  # fmt: skip


def split_words(text: str) -> list[str]:
    """Return the words of a text without fillers and punctuation, with contractions written out."""
    text = text[-20 * MAX_WORDS :].replace("\u2019", "'")
    for short, whole in _CONTRACTIONS:
        text = re.sub(short, whole, text, flags=re.IGNORECASE)
    return [word for word in _WORD.findall(text) if word.lower() not in _FILLERS][-MAX_WORDS:]


def find_matches(phrase: str, words: Sequence[str]) -> Iterator[tuple[float, float, dict[str, str]]]:
    """Yield the ways in which a phrase fits a text: the score, the weight of the phrase, and the words in its slot.

    Args:
        phrase: An example of what users say, with one slot at most.
        words: What was said.
    """
    before, slot, after = _parse(phrase)
    keys = tuple(word.lower() for word in words)
    wanted = (*before, *after)
    best = sum(_weight(word) * _best_likeness(word, keys) for word in wanted)
    if best < MIN_SCORE * sum(map(_weight, wanted)):
        return  # most phrases end here, in a few microseconds
    for start, end in _slot_places(before, slot, after, keys) if slot else [(len(keys), len(keys))]:
        score, weight = _score(wanted, [*keys[:start], *keys[end : None if after else end]])
        if score >= MIN_SCORE:
            yield round(score, 1), weight, {slot.removesuffix("..."): " ".join(words[start:end])} if slot else {}


@lru_cache(maxsize=1024)
def _parse(phrase: str) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return the words before a phrase's slot, the slot (empty for none), and the words after it."""
    words = tuple(split_words(phrase))
    at = next((n for n, word in enumerate(words) if word.startswith("{")), len(words))
    return words[:at], "".join(words[at : at + 1]).strip("{}"), words[at + 1 :]


def _slot_places(
    before: Sequence[str], slot: str, after: Sequence[str], keys: Sequence[str]
) -> Iterator[tuple[int, int]]:
    """Yield where the slot's words can stand: behind the word before it, up to the word after it or the end."""
    for start in [n for n, key in enumerate(keys, 1) if _likeness(before[-1], key)] if before else [0]:
        end = next((n for n in range(start, len(keys)) if _likeness(after[0], keys[n])), start) if after else len(keys)
        while (
            not after
            and not slot.endswith("...")
            and end > start + 1
            and (keys[end - 1] in _COMMON or keys[end - 1] == "tomorrow")
        ):
            end -= 1  # "in Paris today"
        if 0 < end - start <= (MAX_WORDS if slot.endswith("...") else SLOT_WORDS):
            yield start, end


def _weight(word: str) -> float:
    return COMMON_WEIGHT if word in _COMMON else 1.0


def _score(wanted: Sequence[str], said: Sequence[str]) -> tuple[float, float]:
    """Return how well words fit those of a phrase, from 0 to 1, and the weight of the phrase."""
    total = found = sum(map(_weight, wanted))
    rest = list(said)
    for word in wanted:
        likeness, best = max(((_likeness(word, each), each) for each in rest), default=(0.0, ""))
        found -= _weight(word) * (1 - likeness)
        if found < MIN_SCORE * total:
            return 0.0, total
        if likeness:
            rest.remove(best)
    extra = sum(1.0 if word in _NEGATIONS else EXTRA_COST * _weight(word) for word in rest)
    return found / (total + extra) if total else MIN_SCORE, total


@lru_cache(maxsize=4096)
def _best_likeness(wanted: str, keys: tuple[str, ...]) -> float:
    return max((_likeness(wanted, key) for key in keys), default=0.0)


@lru_cache(maxsize=8192)
def _likeness(wanted: str, word: str) -> float:
    """Return how alike two words are: 1 for the same, 0 for different ones."""
    if wanted == word:
        return 1.0
    # A cheap test first: the ratio takes ten microseconds.
    far = len(wanted) < 4 or len(word) < 3 or abs(len(wanted) - len(word)) > 2 or wanted in _COMMON
    if far or (wanted[0] != word[0] and wanted[-1] != word[-1]):
        return 0.0
    ratio = difflib.SequenceMatcher(None, wanted, word, autojunk=False).ratio()
    return ratio if ratio >= 0.7 else 0.0
