"""`Backlog`: user input that has been neither transcribed nor answered yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bargein.pipeline import Audio, Frame, SpeechStarted, SpeechStopped, Video
from bargein.processors import Commit, SpeechContinued, Turn
from bargein.services.frames import ClearAudio

__all__ = ["Backlog"]

TAIL_MS = 1000.0
"""Amount of the latest sound that is always kept, in milliseconds, because a detector notices speech late."""
PREROLL_NS = 300_000_000
"""Amount of sound before the reported start of speech that belongs to the speech, in nanoseconds."""
MAX_OTHER_FRAMES = 64
"""Number of frames other than sound that are kept."""
ABOUT_SOUND = (SpeechStarted, SpeechContinued, SpeechStopped, Commit, Turn, ClearAudio)


class Backlog:
    """Keeps the user's input that has been neither transcribed nor answered, to replay it to the next brain.

    Every frame has a number, from 1. When there is no room, the oldest sound is dropped. The part of it that the next
    brain would have needed is counted.

    Args:
        max_seconds: Maximum length of the sound that is kept, in seconds.
    """

    def __init__(self, max_seconds: float) -> None:
        self.count = 0
        """The number of the newest frame."""
        self.dropped_ms = 0.0
        """Amount of sound that was dropped although the next brain would have needed it, in milliseconds."""
        self._max_ms = max_seconds * 1000
        self._ms = 0.0
        self._sound: deque[tuple[int, Audio]] = deque()
        self._others: deque[tuple[int, Frame]] = deque(maxlen=MAX_OTHER_FRAMES)
        self._speech: dict[str, int] = {}  # the first frame of each item of speech whose words are not known
        self._stopped: dict[str, int] = {}  # its last frame
        self._floor = 0  # no frame up to this number is needed
        self._disconnected_since: int | None = None  # the first frame that no brain has received
        self._has_detector = False  # whether a detector or a brain reports the start of speech

    @property
    def open(self) -> bool:
        """Whether there may be speech that has not been transcribed."""
        return self._first is not None or (not self._has_detector and bool(self._sound))

    @property
    def speech(self) -> tuple[str, ...]:
        """Ids of the items of speech that have not been transcribed."""
        return tuple(self._speech)

    @property
    def disconnected(self) -> bool:
        """Whether no brain receives the user's sound now."""
        return self._disconnected_since is not None

    @disconnected.setter
    def disconnected(self, disconnected: bool) -> None:
        if not disconnected:
            self._disconnected_since = None
        elif self._disconnected_since is None:
            self._disconnected_since = self.count + 1

    def add(self, frame: Frame) -> None:
        """Add a frame of the user."""
        self.count += 1
        if isinstance(frame, Audio):
            self._sound.append((self.count, frame))
            self._ms += frame.ms
            self._trim()
        # Pictures of a video are not kept, because a newer one comes soon.
        elif not isinstance(frame, Video):
            self._others.append((self.count, frame))

    def on_speech_started(self, item_id: str, pts: int) -> None:
        """Note that the user started speaking at a time (`pts`, in nanoseconds)."""
        self._has_detector = True
        if item_id in self._speech:
            return
        # If all sound has the same `pts`, the start is estimated.
        has_times = len(self._sound) > 1 and self._sound[0][1].pts != self._sound[-1][1].pts
        ms, first = 0.0, self.count
        for number, frame in reversed(self._sound):
            if (frame.pts + frame.ms * 1e6 < pts - PREROLL_NS) if has_times else ms >= TAIL_MS:
                break
            ms, first = ms + frame.ms, number
        self._speech[item_id] = first

    def on_speech_stopped(self, item_id: str) -> None:
        """Note that the user stopped speaking; without an item, all speech has stopped."""
        for each in (item_id,) if item_id else tuple(self._speech):
            if each in self._speech:
                self._stopped[each] = self.count

    def on_transcribed(self, item_id: str) -> None:
        """Note that the words of an item are known.

        An unknown id comes from a brain that names its items itself. It then stands for all speech that has stopped.
        """
        for each in (item_id,) if item_id in self._speech else tuple(self._stopped):
            self._close(each)
        self._trim()

    def on_answered(self, mark: int) -> None:
        """Note that all input up to the frame with this number has been answered."""
        for item_id in [item_id for item_id, number in self._stopped.items() if number <= mark]:
            self._close(item_id)
        while self._others and self._others[0][0] <= mark:
            self._others.popleft()
        if not self._has_detector:
            self._floor = max(self._floor, mark)
        self._trim()

    def replay(self, is_known: Callable[[Frame], bool]) -> list[Frame]:
        """Return the frames that the next brain needs, in order. The backlog then consists of these frames.

        Args:
            is_known: Returns whether the conversation already has the content of a frame.
        """
        first = self._first
        start = self._floor if first is None else first
        needed: list[tuple[int, Frame]] = [each for each in self._sound if each[0] >= start]
        others = [
            (number, frame)
            for number, frame in self._others
            if (number >= start and self.open if isinstance(frame, ABOUT_SOUND) else not is_known(frame))
        ]
        self._others.clear()
        self._others.extend(others)
        needed += others
        # Sound and other frames are stored separately, because they have different limits. Their numbers restore the
        # common order.
        needed.sort(key=lambda each: each[0])
        self._speech.clear()  # the next brain detects speech itself
        self._stopped.clear()
        self._disconnected_since = needed[0][0] if needed else self.count + 1  # until the next brain receives it
        return [frame for _, frame in needed]

    @property
    def _first(self) -> int | None:
        disconnected = () if self._disconnected_since is None else (self._disconnected_since,)
        return min((*self._speech.values(), *disconnected), default=None)

    def _close(self, item_id: str) -> None:
        self._speech.pop(item_id, None)
        self._floor = max(self._floor, self._stopped.pop(item_id, 0))

    def _trim(self) -> None:
        """Drop sound that is not needed, or for which there is no room."""
        first = self._first
        while self._sound:
            number, frame = self._sound[0]
            full = self._ms > self._max_ms
            if first is not None:
                drop = number < first or full
                self.dropped_ms += frame.ms if number >= first and full else 0.0
            else:
                drop = number <= self._floor or full or (self._has_detector and self._ms - frame.ms >= TAIL_MS)
            if not drop:
                return
            self._sound.popleft()
            self._ms -= frame.ms
