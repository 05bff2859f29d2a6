"""The part of speech of each word, by the weights of an averaged perceptron. No I/O.

Some words sound differently as a noun and as a verb ("record", "live", "read"). The features and their names are those
with which the weights were trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["Tagger"]

OUTSIDE = ("-START2-", "-START-", "-END-", "-END2-")


class _Weights(msgspec.Struct):
    tags: list[str]
    tagdict: dict[str, str]
    vocab: list[str]
    weights: dict[str, msgspec.Raw]


class Tagger:
    """Finds the part of speech of each word, as a tag of the Penn Treebank.

    Args:
        data: The weights, as JSON.
    """

    def __init__(self, data: bytes) -> None:
        # The weights of a feature stay JSON until they are needed: as objects they would take 40 MB.
        loaded = msgspec.json.decode(data, type=_Weights)
        self._tags, self._known, self._weights = loaded.tags, loaded.tagdict, loaded.weights
        self._vocabulary = frozenset(loaded.vocab)
        self._decoder = msgspec.json.Decoder(dict[str, float])

    def tag(self, words: Sequence[str]) -> list[str]:
        """Return the tag of each word.

        Args:
            words: The words and punctuation marks of one sentence, none of them empty.
        """
        context = [*OUTSIDE[:2], *map(self._normalise, words), *OUTSIDE[2:]]
        tags = list(OUTSIDE[:2])
        for at, word in enumerate(words):
            known = self._known.get(word)
            tags.append(known if known is not None else self._guess(_features(at, word, context, tags[-1], tags[-2])))
        return tags[2:]

    def _guess(self, features: Sequence[str]) -> str:
        scores: dict[str, float] = {}
        for feature in features:
            if (weights := self._weights.get(feature)) is not None:
                for tag, weight in self._decoder.decode(weights).items():
                    scores[tag] = scores.get(tag, 0.0) + weight
        return max(self._tags, key=lambda tag: (scores.get(tag, 0.0), tag)) if scores else "NN"

    def _normalise(self, word: str) -> str:
        """Return a word as the weights know it; a rare one as its shape."""
        if "-" in word[1:]:
            form = "!HYPHEN"
        elif word[0].isdigit():
            form = "!YEAR" if word.isdigit() and len(word) == 4 else "!DIGITS"
        else:
            form = word.lower()
        return form if form in self._vocabulary else f"<{_shape(word)}>"


def _features(at: int, word: str, context: Sequence[str], before: str, before_that: str) -> tuple[str, ...]:
    """Return what the weights are asked for about one word; `context[at + 2]` is that word."""
    two_back, back, here, ahead, two_ahead = context[at : at + 5]
    return (
        *("b", f"s3={word[-3:]}", f"p1={word[0]}", f"w={here}", f"sh={_shape(word)}", "i+" if at else "i0"),
        *(f"t-1={before}", f"t-2={before_that}", f"t-12={before},{before_that}"),
        *(f"w-1={back}", f"s3-1={back[-3:]}", f"w-2={two_back}"),
        *(f"w+1={ahead}", f"s3+1={ahead[-3:]}", f"w+2={two_ahead}"),
    )


def _shape(word: str) -> str:
    if word.isalpha():
        if word.islower():
            return "x"
        if word.isupper():
            return "XX" if len(word) > 1 else "X1"
        return "Xx" if word[0].isupper() and word[1:].islower() else "xX"
    if word.isdigit():
        return "d"
    return "".join("d" if each.isdigit() else "x" if each.isalpha() else each for each in word[:4])
