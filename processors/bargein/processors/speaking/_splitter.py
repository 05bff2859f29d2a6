"""Where a voice may stop: text in, character by character, and out in pieces that are speakable by themselves.

Text is words and gaps between words. A gap is judged once, when the first character of the word behind it is there:
the word before, the gap and that one character are all that a decision needs. Hence any cutting of the text gives
the same pieces, no piece lacks a word, and the delay is one character, which language models send with the space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from ._boundaries import KINDS, BoundaryKind, BoundaryLevel, joined, judge

__all__ = ["Splitter"]

LONGEST_GAP: Final = 1000
"""How many characters beyond the limit are held for the sake of a word; what exceeds it nobody can speak."""
_WHITE = re.compile(r"\s")


class Splitter:
    """Cuts one item of text after another. `begin` it, `feed` it, and `flush` it for the rest."""

    _held: str
    _end: int
    _weight: int

    def __init__(self, max_chars: int, first_words: int) -> None:
        self._max = max_chars
        self._first = 2 * first_words
        self.begin(opening=True)

    def begin(self, *, opening: bool) -> None:
        """Forget what is held. `opening`: the next piece is the first that is heard, so it may end with a clause."""
        self._opening = opening
        self._restart()

    @property
    def empty(self) -> bool:
        """Whether nothing is held."""
        return not self._held

    def feed(self, text: str) -> Iterator[str]:
        """The pieces that `text` completes."""
        for char in text:
            kind = KINDS[char]
            if kind >= BoundaryKind.WORD:
                if 0 < self._end < len(self._held) and (cut := self._gap(char)):
                    yield self._take(cut)
                if len(self._held) >= self._max and (cut := self._excess(char)):
                    rest = self._held[cut:]
                    yield self._take(cut)
                    self._restart()
                    yield from self.feed(rest + char)
                    continue
                if kind is BoundaryKind.DENSE:
                    self._weight += 1
                elif not self._end or _WHITE.search(self._held, self._end):
                    self._weight += 2
                self._held += char
                self._end = len(self._held)
            elif len(self._held) < self._max + LONGEST_GAP:
                if kind is BoundaryKind.MARK and 0 < self._end == len(self._held):
                    self._end += 1
                self._held += char

    def flush(self) -> str:
        """The rest, if there is something to speak in it."""
        rest = self._held
        speakable = self._end or any(unicodedata.category(char)[0] == "S" for char in rest)
        self._restart()
        return rest if speakable else ""

    def _restart(self, held: str = "") -> None:
        self._held = held
        self._end = 0  # where the last word ends; the present gap begins there
        self._weight = 0  # two for a word, one for a character of a script without spaces
        self._clause = self._space = 0  # where the last gaps of these levels may be cut

    def _take(self, cut: int) -> str:
        piece = self._held[:cut]
        self._restart(self._held[cut:])
        self._opening = False
        return piece

    def _gap(self, char: str) -> int:
        """Where to cut the gap before `char`; 0 for not at all."""
        level, at = judge(self._held[: self._end], self._held[self._end :], char)
        cut = self._end + at
        if (
            level is BoundaryLevel.LINE
            or (level is BoundaryLevel.SENTENCE and (self._opening or self._weight > 2))
            or (level is BoundaryLevel.CLAUSE and self._opening and self._weight >= self._first)
        ):
            return cut
        if level >= BoundaryLevel.CLAUSE:
            self._clause = cut
        elif level is BoundaryLevel.SPACE:
            self._space = cut
        return 0

    def _excess(self, char: str) -> int:
        """Where to cut what has become too long; 0 if it must wait for the next character."""
        if cut := self._clause or self._space:
            return cut
        if not self._end or (joined(self._held[-1], char) and len(self._held) < self._max + LONGEST_GAP):
            return 0
        return len(self._held)
