"""What the user has said and sent, as long as no brain has made words or an answer of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bargein.pipeline import Audio, Frame, SpeechStarted, SpeechStopped, Video
from bargein.processors import Commit, SpeechContinued, Turn
from bargein.services.frames import ClearAudio

__all__ = ["Backlog"]

TAIL_MS = 1000.0
"""So much sound is kept in any case: speech is noticed late."""
PREROLL_NS = 300_000_000
"""And so much before the beginning of speech."""
OTHERS = 64
"""How many frames that are no sound are kept."""
ABOUT_SOUND = (SpeechStarted, SpeechContinued, SpeechStopped, Commit, Turn, ClearAudio)


class Backlog:
    """Keeps frames of the user's for the next brain: bounded, the oldest sound is lost first, and counted."""

    def __init__(self, seconds: float) -> None:
        self.count = 0
        """The number of the latest frame."""
        self.dropped_ms = 0.0
        """How much sound was lost that the next brain would have needed."""
        self._most = seconds * 1000
        self._ms = 0.0
        self._sound: deque[tuple[int, Audio]] = deque()
        self._others: deque[tuple[int, Frame]] = deque(maxlen=OTHERS)
        self._speech: dict[str, int] = {}  # where speech began whose words are not known
        self._over: dict[str, int] = {}  # and where it ended
        self._floor = 0  # nothing up to here is needed
        self._deaf: int | None = None  # since when nobody hears
        self._noticed = False  # somebody tells when speech begins

    @property
    def open(self) -> bool:
        """There may be speech whose words are not known."""
        return self._first is not None or (not self._noticed and bool(self._sound))

    @property
    def speech(self) -> tuple[str, ...]:
        """Items of speech whose words are not known."""
        return tuple(self._speech)

    def add(self, frame: Frame) -> None:
        """The user sent this."""
        self.count += 1
        if isinstance(frame, Audio):
            self._sound.append((self.count, frame))
            self._ms += frame.ms
            self._trim()
        elif not isinstance(frame, Video):
            self._others.append((self.count, frame))

    @property
    def deaf(self) -> bool:
        """There is nobody who hears."""
        return self._deaf is not None

    @deaf.setter
    def deaf(self, deaf: bool) -> None:
        if not deaf:
            self._deaf = None
        elif self._deaf is None:
            self._deaf = self.count + 1

    def began(self, item: str, pts: int) -> None:
        """The user began to speak."""
        self._noticed = True
        if item in self._speech:
            return
        moves = len(self._sound) > 1 and self._sound[0][1].pts != self._sound[-1][1].pts
        ms, first = 0.0, self.count
        for number, frame in reversed(self._sound):
            if (frame.pts + frame.ms * 1e6 < pts - PREROLL_NS) if moves else ms >= TAIL_MS:
                break
            ms, first = ms + frame.ms, number
        self._speech[item] = first

    def stopped(self, item: str) -> None:
        """The user stopped speaking; without an item, whatever it was."""
        for each in (item,) if item else tuple(self._speech):
            if each in self._speech:
                self._over[each] = self.count

    def understood(self, item: str) -> None:
        """The words are known: of this speech, or of all that is over where its maker counts in its own way."""
        for each in (item,) if item in self._speech else tuple(self._over):
            self._close(each)
        self._trim()

    def answered(self, mark: int) -> None:
        """What was said and sent up to there has been answered."""
        for item in [item for item, number in self._over.items() if number <= mark]:
            self._close(item)
        while self._others and self._others[0][0] <= mark:
            self._others.popleft()
        if not self._noticed:
            self._floor = max(self._floor, mark)
        self._trim()

    def replay(self, known: Callable[[Frame], bool]) -> list[Frame]:
        """What the next brain must be given, in order; but for what is `known` to be in the conversation."""
        first = self._first
        about = self._floor if first is None else first
        needed: list[tuple[int, Frame]] = [each for each in self._sound if each[0] >= about]
        others = [
            (number, frame)
            for number, frame in self._others
            if (number >= about and self.open if isinstance(frame, ABOUT_SOUND) else not known(frame))
        ]
        self._others.clear()
        self._others.extend(others)
        needed += others
        needed.sort(key=lambda each: each[0])
        self._speech.clear()  # the next brain has news of its own
        self._over.clear()
        self._deaf = needed[0][0] if needed else self.count + 1  # until it says that it hears
        return [frame for _, frame in needed]

    @property
    def _first(self) -> int | None:
        marks = (*self._speech.values(), *(() if self._deaf is None else (self._deaf,)))
        return min(marks, default=None)

    def _close(self, item: str) -> None:
        self._speech.pop(item, None)
        self._floor = max(self._floor, self._over.pop(item, 0))

    def _trim(self) -> None:
        first = self._first
        while self._sound:
            number, frame = self._sound[0]
            full = self._ms > self._most
            if first is not None:
                spare = number < first or full
                self.dropped_ms += frame.ms if number >= first and full else 0.0
            else:
                spare = number <= self._floor or full or (self._noticed and self._ms - frame.ms >= TAIL_MS)
            if not spare:
                return
            self._sound.popleft()
            self._ms -= frame.ms
