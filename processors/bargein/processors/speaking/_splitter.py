"""Split streaming text into pieces that can be spoken on their own.

Text consists of words and the gaps between them. Each gap is judged once, when the first character after it has
arrived. The word before, the gap and that character are all that the decision needs. Therefore the pieces do not depend
on how the text is cut, and the delay is one character, which language models send together with the space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from ._boundaries import KINDS, BoundaryKind, BoundaryLevel, is_one_character, judge

__all__ = ["Splitter"]

MAX_GAP: Final = 1000
"""Characters beyond `max_characters` that are held back to keep a word whole. A longer word cannot be spoken."""
_WHITE = re.compile(r"\s")


class Splitter:
    """Splits one item of text after another: call `begin`, `feed` for each piece of text, and `flush` at the end."""

    _held: str
    _end: int
    _weight: int

    def __init__(self, max_characters: int, first_words: int) -> None:
        self._max = max_characters
        self._first = 2 * first_words
        self.begin(opening=True)

    def begin(self, *, opening: bool) -> None:
        """Start a new item. With `opening`, its first piece is the first of the response and may end with a clause."""
        self._opening = opening
        self._restart()

    @property
    def empty(self) -> bool:
        """Whether no text is held back."""
        return not self._held

    def feed(self, text: str) -> Iterator[str]:
        """Yield the pieces that `text` completes."""
        for char in text:
            kind = KINDS[char]
            if kind >= BoundaryKind.WORD:
                # The first character of the next word decides about the gap before it.
                if 0 < self._end < len(self._held) and (cut := self._gap(char)):
                    yield self._take(cut)
                # Too long for a piece: it is cut at the best gap so far, and what is left is judged again as if it came
                # now.
                if len(self._held) >= self._max and (cut := self._excess(char)):
                    rest = self._held[cut:]
                    yield self._take(cut)
                    self._restart()
                    yield from self.feed(rest + char)
                    continue
                if kind is BoundaryKind.DENSE:
                    self._weight += 1
                # A new word, and not the next letter of one: there is white space since the last.
                elif not self._end or _WHITE.search(self._held, self._end):
                    self._weight += 2
                self._held += char
                self._end = len(self._held)
            # Beyond the bound, a gap that never ends (a line of dashes) is dropped. It cannot be spoken, and memory is
            # finite.
            elif len(self._held) < self._max + MAX_GAP:
                if kind is BoundaryKind.MARK and 0 < self._end == len(self._held):
                    self._end += 1
                self._held += char

    def flush(self) -> str:
        """Return the rest if it contains something to speak, else an empty string."""
        rest = self._held
        speakable = self._end or any(unicodedata.category(char)[0] == "S" for char in rest)
        self._restart()
        return rest if speakable else ""

    def _restart(self, held: str = "") -> None:
        self._held = held
        self._end = 0  # end of the last word, which is the start of the current gap
        self._weight = 0  # two for a word, one for a character of a script without spaces
        self._clause = self._space = 0  # positions of the last gaps of these levels

    def _take(self, cut: int) -> str:
        piece = self._held[:cut]
        self._restart(self._held[cut:])
        self._opening = False
        return piece

    def _gap(self, char: str) -> int:
        """Return where to cut the gap before `char`, or 0 for no cut."""
        level, at = judge(self._held[: self._end], self._held[self._end :], char)
        cut = self._end + at
        if (
            level is BoundaryLevel.LINE
            # A sentence of one word sounds chopped on its own, except as the first.
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
        """Return where to cut text that is too long, or 0 to wait for the next character."""
        if cut := self._clause or self._space:
            return cut
        # Between two halves of one character there is no place to cut, so this waits for the next.
        if not self._end or (is_one_character(self._held[-1], char) and len(self._held) < self._max + MAX_GAP):
            return 0
        return len(self._held)
