"""Align the text of one reply item with its audio."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from typing import ClassVar

from bargein.pipeline import Audio
from bargein.pipeline.lowlevel import check_options
from bargein.processors.words import UNSPACED

__all__ = ["Alignment"]

_UNIT = re.compile(rf"[{UNSPACED}]\W*|(?:(?![{UNSPACED}])\S)+")
"""The smallest unit that counts as heard: a word with its punctuation, or one character in scripts without spaces."""
_UNSPACED = re.compile(f"[{UNSPACED}]")
_WORD_CHARACTER = re.compile(rf"[^\W{UNSPACED}]")
"""Next to a match, it shows that the match lies inside a longer word."""
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
"""Rounding of reports: audio counts as played completely up to this many milliseconds before its end."""
SEARCH_CHARACTERS = 40
"""How far beyond the last timed piece, in characters, the next one is searched for."""


class Alignment:
    """Computes which words of an item have been heard, from its text, its audio, word times and the playback position.

    Between known word times the text is spread over the audio by the estimated length of each character.

    Args:
        epoch: The epoch of the item's response.
        ms_per_weight: Speaking rate to assume until the item's own is known: milliseconds a letter.
    """

    MS_PER_WEIGHT: ClassVar[float] = 65.0
    """Default speaking rate in milliseconds a letter: English at about 160 words a minute."""

    @check_options
    def __init__(self, epoch: int, ms_per_weight: float) -> None:
        self.epoch = epoch
        self.text = ""
        self.started = False
        """Whether playback of the item has begun."""
        self._ms_per_weight = ms_per_weight
        self._samples: dict[int, int] = {}  # number of samples received, by sampling rate
        self._weights: list[float] = [0.0]  # cumulated speaking time of the text, in letters, for each character
        self._anchors: list[tuple[int, float]] = [(0, 0.0)]  # pairs of (character, milliseconds) known from word times
        self._unspoken: list[tuple[int, int]] = []  # (start, end) characters of pieces that the voice failed to say
        self._gaps: list[tuple[float, float]] = []  # (start, end) milliseconds of audio that never reached the listener
        self._pending: list[tuple[str, float, float, bool]] = []  # word times whose text has not arrived yet
        self.played_ms = 0.0
        """How much of the audio has been heard, in milliseconds."""
        self.is_cut = False
        """Whether it was interrupted before all of it had arrived."""
        self._text_over = self._audio_over = self._done = False
        self._min_heard = 0  # characters already reported as heard: a better estimate later must not take them back

    # Input ---------------------------------------------------------------------------------------------------

    def add_text(self, text: str, final: bool) -> None:
        """Append text; `final` when the text is complete.

        Args:
            text: The next piece, with its spaces.
            final: Whether the text is complete with it.
        """
        for character in text:
            self._weights.append(self._weights[-1] + _weight(character))
        self.text += text
        self._text_over = self._text_over or final
        pending, self._pending = self._pending, []
        for timing in pending:
            self.add_timing(*timing)

    def add_audio(self, frame: Audio) -> None:
        """Count another frame of the audio.

        Args:
            frame: The next piece of the item's sound.
        """
        self._samples[frame.rate] = self._samples.get(frame.rate, 0) + len(frame.samples)

    def add_timing(self, text: str, start_ms: float, end_ms: float, spoken: bool = True) -> None:
        """Note when a piece of the text sounds, or that it never will. Pieces arrive in order.

        A piece that is not found may belong to text that has not arrived yet, so it is tried again. It may also be
        spelled differently in the text (12, twelve): then it is dropped when a later piece is found.

        Args:
            text: The piece, as the voice spells it.
            start_ms: Where its sound begins, in milliseconds of the item's audio.
            end_ms: Where its sound ends, in milliseconds of the item's audio.
            spoken: False for a piece that the voice leaves out. Default True.
        """
        piece = text.strip()
        character, ms = self._anchors[-1]
        near = self.text[character : character + len(piece) + SEARCH_CHARACTERS]
        found = _find_words(near, piece) if piece else None
        if found is None:
            if piece and len(self._pending) < 1000:
                self._pending.append((text, start_ms, end_ms, spoken))
            return
        self._pending.clear()
        start, end = max(ms, start_ms), character + found[1]
        while end < len(self.text) and not self.text[end].isspace() and not self.text[end].isalnum():
            end += 1  # include the punctuation after the word
        self._anchors += [(character + found[0], start), (end, max(start, end_ms))]
        if not spoken:
            self._unspoken.append((character + found[0], end))

    def set_played(self, ms: float, done: bool, gaps: Iterable[tuple[float, float]] = ()) -> None:
        """Note how many milliseconds have been heard, and what of them was lost on the way.

        Args:
            ms: How much of the item was played so far, in milliseconds.
            done: Whether nothing more of it will be played.
            gaps: Beginning and end of each part before `ms` that did not reach the listener, in milliseconds.
        """
        self.played_ms = max(self.played_ms, ms)
        self.started, self._done = True, self._done or done
        for start, end in gaps:
            if self._gaps and start <= self._gaps[-1][1] + TOLERANCE_MS:
                start, end = self._gaps[-1][0], max(end, self._gaps.pop()[1])
            self._gaps.append((start, end))
        self._audio_over = self._audio_over or (done and not self.is_cut)
        self._min_heard = max(self._min_heard, self._end)

    def complete(self) -> None:
        """Note that all text and all audio have arrived."""
        if not self.is_cut:
            self._text_over = self._audio_over = True

    def cut(self) -> None:
        """Note an interrupt: nothing more will arrive."""
        self.is_cut = not (self._text_over and self._audio_over)

    # Results ------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether the result is final."""
        return self._done and (self._text_over or self.is_cut)

    @property
    def silent(self) -> bool:
        """Whether no audio has arrived."""
        return not self._samples

    @property
    def whole(self) -> bool:
        """Whether all of it has arrived and all its audio has been heard."""
        over = self._text_over and self._audio_over and not self.is_cut
        return over and self.played_ms >= self.audio_ms - TOLERANCE_MS

    @property
    def measured_ms_per_weight(self) -> float:
        """The speaking rate of this item if it was heard completely, else the assumed one."""
        weight = self._weights[-1]
        return self.audio_ms / weight if self.whole and weight > 20 else self._ms_per_weight

    @property
    def has_gaps(self) -> bool:
        """Whether a part of the audio never reached the listener."""
        return bool(self._gaps)

    @property
    def heard_text(self) -> str:
        """The text up to the last word that has been heard, without what the voice failed to say or a gap swallowed."""
        end, parts, at = self._end, list[str](), 0
        for start, stop in sorted((*self._unspoken, *self._swallowed(end))):
            if at <= start < end:
                parts.append(self.text[at:start])
                at = min(stop, end)
                while at < end and self.text[at].isspace() and (not any(parts) or "".join(parts)[-1].isspace()):
                    at += 1  # one space is left between the words before and after
        return "".join((*parts, self.text[at:end])) if parts else self.text[:end]

    @property
    def remaining(self) -> str:
        """The text that has not been heard yet."""
        return self.text[self._end :]

    @property
    def _end(self) -> int:
        """Number of characters up to the last word that has been heard completely."""
        if self.whole and not self.silent:
            return len(self.text)
        position, end = max(self._position(), self._min_heard), 0
        for unit in _UNIT.finditer(self.text):
            if unit.end() > position:
                break
            end = unit.end()
        return end

    def _swallowed(self, end: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of the words, before the character `end`, of which more than half lies in a gap."""
        gaps = [(self._weight_at(start), self._weight_at(stop)) for start, stop in self._gaps]
        for unit in _UNIT.finditer(self.text, 0, end) if gaps else ():
            first, last = self._weights[unit.start()], self._weights[unit.end()]
            lost = sum(max(0.0, min(stop, last) - max(start, first)) for start, stop in gaps)
            if 2 * lost > last - first:
                yield unit.start(), unit.end()

    @property
    def audio_ms(self) -> float:
        """Length of the received audio in milliseconds."""
        return sum(1000 * count / rate for rate, count in self._samples.items())

    def _position(self) -> int:
        """Return the estimated number of characters that have been heard."""
        return bisect_right(self._weights, self._weight_at(self.played_ms + TOLERANCE_MS) + 1e-9) - 1

    def _weight_at(self, played: float) -> float:
        """Return the estimated speaking time, in letters, of what sounds before a time in the audio (milliseconds)."""
        reached = bisect_right(self._anchors, played, key=lambda anchor: anchor[1]) - 1
        if reached < 0:
            return 0.0
        character, ms = self._anchors[reached]
        if reached + 1 < len(self._anchors):
            until, end = self._anchors[reached + 1]
        else:
            until, end = len(self.text), self._end_ms(character, ms)
        if end <= ms:
            return self._weights[character]
        first, last = self._weights[character], self._weights[until]
        return min(last, first + (last - first) * (played - ms) / (end - ms))

    def _end_ms(self, character: int, ms: float) -> float:
        """Return when the known text ends, in milliseconds of the item's audio."""
        if self._audio_over and not self.is_cut:
            return max(self.audio_ms, ms)
        rest = (self._weights[-1] - self._weights[character]) * self._ms_per_weight
        return max(self.audio_ms, ms + rest)


@cache
def _weight(character: str) -> float:
    """Return how long a character takes to speak, in units of one letter."""
    if character in _PAUSES:
        return _PAUSES[character]
    return 3.0 if character.isdigit() or _UNSPACED.match(character) else 1.0


def _find_words(text: str, piece: str) -> tuple[int, int] | None:
    """Return start and end of a piece that is in the text as whole words, ignoring case."""
    # Putting the word boundaries into the pattern would cost milliseconds of compiling for every spoken word.
    pattern, at = re.compile(re.escape(piece), re.I), 0
    while (found := pattern.search(text, at)) is not None:
        start, end = found.span()
        if not (start and _WORD_CHARACTER.match(text, start - 1)) and not _WORD_CHARACTER.match(text, end):
            return start, end
        at = start + 1
    return None
