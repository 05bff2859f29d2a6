"""Judge the gap between two words: a space, the end of a clause, of a sentence, or of a line."""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from typing import Final

from ._abbreviations import MAY_END, NEVER_END, NUMBERED, ORDINAL_BEFORE, SINGLE, TITLES

__all__ = ["KINDS", "BoundaryKind", "BoundaryLevel", "is_one_character", "judge"]

THAI_SENTENCE: Final = 40
"""Thai and Lao have no full stop. After this many characters a space ends a sentence."""

_DENSE_STOPS = "。｡！？．।॥።፧፨။។៕༎"  # end a sentence without a following space
_STOPS = ".!?…‥؟۔։\u037e" + _DENSE_STOPS
_RIGHT = "»›”’)\\]}"  # close even after a space
# The second group closes a quotation in German, and never stands before a word.
_CLOSING = f"(?:[{_RIGHT}\"'*_`~」』）】》〉〕］｝＂＇]|[«‹“‘](?=\\s))"
_PICTURES = "\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\U0001f000-\U0001faff"
_LEADING = " \t\"'“‘«„([{*_#>-–•·"
_LINE = re.compile(r"(?s).*[\n\r\x0b\x0c\x85\u2028\u2029]")
_STOP = re.compile(rf"(?s).*[{_STOPS}]{_CLOSING}*(?:\s*[{_RIGHT}{_PICTURES}])*\s*")
_PAUSE = re.compile(rf"(?s).*(?:[,;:،؛·՝፣፤፥]{_CLOSING}*\s+|\s[-–—]+\s+|[、，；：､၊—]\s*)")
_SPACE = re.compile(r"(?s).*[^\S\xa0\u202f\u2007]")  # white space that allows a break
_SPEAKABLE = "%&@#§"  # punctuation that is read aloud
_SILENT = "|~^`"  # symbols that are not read aloud


class BoundaryKind(IntEnum):
    """What a character means for a voice."""

    GAP = 0  # spaces, punctuation, pictures
    MARK = 1  # belongs to the character before it
    WORD = 2
    DENSE = 3  # of a script without spaces between words


class BoundaryLevel(IntEnum):
    """How good a gap is for a pause, in ascending order."""

    NONE = 0
    SPACE = 1
    CLAUSE = 2
    SENTENCE = 3
    LINE = 4


class _Kinds(dict[str, BoundaryKind]):
    def __missing__(self, char: str) -> BoundaryKind:
        group = unicodedata.category(char)
        if group[0] == "M" or group == "Cf":
            kind = BoundaryKind.MARK
        elif char in _SPEAKABLE or (group[0] in "LNS" and group not in ("So", "Sk") and char not in _SILENT):
            kind = BoundaryKind.DENSE if _dense(char) and group[0] in "LN" else BoundaryKind.WORD
        else:
            kind = BoundaryKind.GAP
        self[char] = kind  # bounded by the size of Unicode
        return kind


KINDS: Final = _Kinds()
"""The kind of every character."""


def judge(before: str, gap: str, char: str) -> tuple[BoundaryLevel, int]:
    """Return the level of the gap between `before` and `char`, and where in the gap the next piece would begin."""
    if found := _LINE.match(gap):
        return BoundaryLevel.LINE, found.end()
    if _within(before[-1], "\u0370\u03ff\u1f00\u1fff"):
        gap = gap.replace(";", "?")  # the Greek question mark
    if found := _STOP.match(gap):
        level = _stop(before, found[0], char)
        if level is not BoundaryLevel.CLAUSE:
            return level, found.end()
    number = before[-1].isdigit() and char.isdigit()  # 1，000 and 10：30 and May 3, 2024
    if not number and ((found := _PAUSE.match(gap)) or (_dense(char) and (found := _STOP.match(gap)))):
        return BoundaryLevel.CLAUSE, found.end()
    if found := _SPACE.match(gap):
        if _within(before[-1], "\u0e01\u0eff") and _within(char, "\u0e01\u0eff"):
            return (BoundaryLevel.SENTENCE if len(before) >= THAI_SENTENCE else BoundaryLevel.CLAUSE), found.end()
        return BoundaryLevel.SPACE, found.end()
    return BoundaryLevel.NONE, 0


def _stop(before: str, gap: str, char: str) -> BoundaryLevel:
    """Return the level of a gap that begins with a stop. `CLAUSE` leaves the decision to its other marks."""
    stops = [each for each in gap if each in _STOPS]
    spaced = gap[-1].isspace()
    if stops[-1] in _DENSE_STOPS:
        if stops == ["．"] and before[-1].isdigit() and char.isdigit():
            return BoundaryLevel.NONE
        quoted = gap[-1] in "」』" and "\u3041" <= char <= "\u309f"  # 「はい。」と言った
        return BoundaryLevel.NONE if quoted else BoundaryLevel.SENTENCE
    if not spaced:
        if _dense(char):
            return BoundaryLevel.SENTENCE if stops[-1] in "!?" else BoundaryLevel.CLAUSE
        return BoundaryLevel.NONE
    if _lower(char):
        return BoundaryLevel.SPACE if stops != ["."] else BoundaryLevel.NONE
    if len(stops) == 1 and stops[0] == gap[0] == ".":
        return BoundaryLevel.NONE if _abbreviates(before, char) else BoundaryLevel.SENTENCE
    if not set(stops) - set(".…‥"):
        return BoundaryLevel.SENTENCE if char.isalpha() else BoundaryLevel.SPACE
    return BoundaryLevel.SENTENCE


def _abbreviates(before: str, char: str) -> bool:
    """Return whether the full stop after `before` belongs to an abbreviation, so that `char` continues the sentence."""
    words = before.rsplit(None, 3)
    token = words[-1].lstrip(_LEADING)
    if not token:
        return False
    lower = token.lower()
    if token in TITLES or lower[0] + token[1:] in NEVER_END:
        return True
    if lower in MAY_END:
        return not char.isalpha()
    if lower in NUMBERED and char.isdigit():
        return True
    first = before.lstrip(_LEADING) == token
    if token.isdigit():
        previous = words[-2].lower() if len(words) > 1 else ""
        german = previous in ORDINAL_BEFORE and words[-3:-2] != ["I"]  # but "I am 30. You"
        return len(token) <= 3 and (first or (german and len(token) <= 2 and char.isalpha()))
    if len(token) == 1:
        chained = len(words) > 1 and len(words[-2]) == 2 and words[-2][1] == "."  # u. a.
        return first or chained or token in SINGLE or (token.isupper() and token != "I")
    if all(len(part) == 1 for part in token.split(".")):
        return True  # J.R.R. Tolkien
    return first and len(token) < 5 and not set(token) - set("IVX")


def _lower(char: str) -> bool:
    return char.islower() and not _within(char, "\u10d0\u10ff")  # Georgian is written without capitals


def _dense(char: str) -> bool:
    return _within(
        char, "\u0e01\u109f\u1780\u17ff\u3005\u312f\u31f0\u31ff\u3400\u9fff\uf900\ufaff\uff66\uff9f\U00020000\U0003ffff"
    )


def is_one_character(one: str, other: str) -> bool:
    """Return whether the reader sees both code points as one character, which must not be cut."""
    return (
        one == "\u200d"
        or unicodedata.combining(one) == 9  # a virama, which joins consonants
        or one in "เแโใไເແໂໃໄ"
        or other in "ะาำๅະາຳ"
        or _within(other, "\u1160\u11ff\ud7b0\ud7ff")
    )


def _within(char: str, ranges: str) -> bool:
    return any(low <= char <= high for low, high in zip(ranges[::2], ranges[1::2], strict=True))
