"""One item of a reply: its text laid along its audio."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from typing import ClassVar

from bargein.pipeline import Audio

from ._words import UNSPACED

__all__ = ["Alignment"]

_UNIT = re.compile(rf"[{UNSPACED}]\W*|(?:(?![{UNSPACED}])\S)+")
"""What is heard or not heard as a whole: a word with its punctuation; where no spaces are, a character."""
_UNSPACED = re.compile(f"[{UNSPACED}]")
_JOINS = re.compile(rf"[^\W{UNSPACED}]")
"""What beside a piece says that it is not a word of its own, but in the middle of one."""
_PAUSES = {
    ",": 3.0,
    ";": 4.0,
    ":": 4.0,
    ".": 6.0,
    "!": 6.0,
    "?": 6.0,
    "、": 3.0,
    "，": 3.0,
    "。": 6.0,
    "！": 6.0,
    "？": 6.0,
}
TOLERANCE_MS = 1.0
NEAR = 40
"""How many characters beyond the last piece the next one is looked for."""


class Alignment:
    """Text, audio, timings and the position of the listener. Says which whole words lie before that position."""

    MS_PER_WEIGHT: ClassVar[float] = 65.0
    """What a letter takes, until the voice has been heard: English at about 160 words a minute."""

    def __init__(self, epoch: int, ms_per_weight: float) -> None:
        self.epoch = epoch
        self.text = ""
        self.started = False
        """Some of it has been played."""
        self._ms_per_weight = ms_per_weight
        self._samples: dict[int, int] = {}  # how many, by rate
        self._weights: list[float] = [0.0]  # of the text up to each character
        self._anchors: list[tuple[int, float]] = [(0, 0.0)]  # characters and milliseconds that belong together
        self._unspoken: list[tuple[int, int]] = []  # characters that the voice failed to say, from and to
        self._pending: list[tuple[str, float, float, bool]] = []  # timings whose text has not come yet
        self.played_ms = 0.0
        """How far it has been heard."""
        self.is_cut = False
        """It was interrupted before all of it had come."""
        self._text_over = self._audio_over = self._done = False
        self._least = 0  # so many characters have been said to be heard: an estimate may change, the past does not

    # What comes ---------------------------------------------------------------------------------------------------

    def says(self, text: str, final: bool) -> None:
        """More of the text."""
        for character in text:
            self._weights.append(self._weights[-1] + _weight(character))
        self.text += text
        self._text_over = self._text_over or final
        pending, self._pending = self._pending, []
        for timing in pending:
            self.times(*timing)

    def sounds(self, frame: Audio) -> None:
        """More of the audio."""
        self._samples[frame.rate] = self._samples.get(frame.rate, 0) + len(frame.samples)

    def times(self, text: str, start_ms: float, end_ms: float, spoken: bool = True) -> None:
        """When a piece of the text sounds. Pieces come in order.

        What cannot be found may be text that has not come yet, and is tried again, or may be spelled in another way
        (12, twelve), and is given up when a later piece is found.
        """
        piece = text.strip()
        character, ms = self._anchors[-1]
        near = self.text[character : character + len(piece) + NEAR]
        found = _words_in(near, piece) if piece else None
        if found is None:
            if piece and len(self._pending) < 1000:
                self._pending.append((text, start_ms, end_ms, spoken))
            return
        self._pending.clear()
        start, end = max(ms, start_ms), character + found[1]
        while end < len(self.text) and not self.text[end].isspace() and not self.text[end].isalnum():
            end += 1  # punctuation belongs to the word before it
        self._anchors += [(character + found[0], start), (end, max(start, end_ms))]
        if not spoken:
            self._unspoken.append((character + found[0], end))

    def plays(self, ms: float, done: bool) -> None:
        """How far it has been heard; `done` when no more of it will be."""
        self.played_ms = max(self.played_ms, ms)
        self.started, self._done = True, self._done or done
        self._audio_over = self._audio_over or (done and not self.is_cut)
        self._least = max(self._least, self._end)

    def complete(self) -> None:
        """All its text and all its audio have come."""
        if not self.is_cut:
            self._text_over = self._audio_over = True

    def cut(self) -> None:
        """It was interrupted: what has not come yet never will."""
        self.is_cut = not (self._text_over and self._audio_over)

    # What it means ------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Nothing about it can change any more."""
        return self._done and (self._text_over or self.is_cut)

    @property
    def silent(self) -> bool:
        """It has no audio."""
        return not self._samples

    @property
    def whole(self) -> bool:
        """All of it has come, and all its audio has been heard."""
        over = self._text_over and self._audio_over and not self.is_cut
        return over and self.played_ms >= self.audio_ms - TOLERANCE_MS

    @property
    def learned(self) -> float:
        """Milliseconds a unit of weight, as spoken."""
        weight = self._weights[-1]
        return self.audio_ms / weight if self.whole and weight > 20 else self._ms_per_weight

    @property
    def heard(self) -> str:
        """The whole words up to the listener's position, without those that the voice failed to say."""
        end, parts, at = self._end, list[str](), 0
        for start, stop in self._unspoken:
            if start < end:
                parts.append(self.text[at:start])
                at = min(stop, end)
                while at < end and self.text[at].isspace() and (not any(parts) or "".join(parts)[-1].isspace()):
                    at += 1  # one space is left between the words before and after
        return "".join((*parts, self.text[at:end])) if parts else self.text[:end]

    @property
    def remaining(self) -> str:
        """The text behind the listener's position."""
        return self.text[self._end :]

    @property
    def _end(self) -> int:
        """How many characters lie before the listener's position, up to the end of a word."""
        if self.whole and not self.silent:
            return len(self.text)
        position, end = max(self._position(), self._least), 0
        for unit in _UNIT.finditer(self.text):
            if unit.end() > position:
                break
            end = unit.end()
        return end

    @property
    def audio_ms(self) -> float:
        """How much of its audio has come."""
        return sum(1000 * count / rate for rate, count in self._samples.items())

    def _position(self) -> int:
        """How many characters have been heard."""
        played = self.played_ms + TOLERANCE_MS
        reached = bisect_right(self._anchors, played, key=lambda anchor: anchor[1]) - 1
        if reached < 0:
            return 0
        character, ms = self._anchors[reached]
        if reached + 1 < len(self._anchors):
            until, end = self._anchors[reached + 1]
        else:
            until, end = len(self.text), self._end_ms(character, ms)
        if end <= ms:
            return character
        first, last = self._weights[character], self._weights[until]
        weight = first + (last - first) * (played - ms) / (end - ms)
        return min(until, bisect_right(self._weights, weight + 1e-9) - 1)

    def _end_ms(self, character: int, ms: float) -> float:
        """When the last of the text that is known will have sounded."""
        if self._audio_over and not self.is_cut:
            return max(self.audio_ms, ms)
        rest = (self._weights[-1] - self._weights[character]) * self._ms_per_weight
        return max(self.audio_ms, ms + rest)


@cache
def _weight(character: str) -> float:
    """About how long a character takes to say, in letters."""
    if character in _PAUSES:
        return _PAUSES[character]
    return 3.0 if character.isdigit() or _UNSPACED.match(character) else 1.0


def _words_in(text: str, piece: str) -> tuple[int, int] | None:
    """Where a piece stands in a text as words of their own, in whatever capitals."""
    # One pattern with the bounds in it takes milliseconds to compile, for every word that is spoken.
    pattern, at = re.compile(re.escape(piece), re.I), 0
    while (found := pattern.search(text, at)) is not None:
        start, end = found.span()
        if not (start and _JOINS.match(text, start - 1)) and not _JOINS.match(text, end):
            return start, end
        at = start + 1
    return None
