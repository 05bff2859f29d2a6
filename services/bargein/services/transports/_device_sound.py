"""Sound between two threads, that of the sound device and that of the event loop. Neither ever waits for the other.

Each number and each end of a queue has one writer, and a deque's own methods are atomic; so there is no lock that a
loop at work could hold while the device runs dry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["Microphone", "Speaker"]

Samples = npt.NDArray[np.int16]


class Microphone:
    """What has been recorded and not been taken: bounded, the oldest is dropped."""

    def __init__(self, *, pieces: int, wake: Callable[[], None]) -> None:
        self.dropped = 0
        """Pieces that nobody took in time."""
        self._pieces = pieces
        self._wake = wake
        self._queue: deque[tuple[int, Samples]] = deque()
        self._count = 0

    def record(self, samples: Samples) -> None:
        """The device has these, of shape `(n,)`. For its thread: never waits."""
        while len(self._queue) >= self._pieces:
            try:
                self._queue.popleft()
            except IndexError:  # it has just been taken
                break
            self.dropped += 1
        self._queue.append((self._count, samples))
        self._count += len(samples)
        self._wake()

    def take(self) -> tuple[int, Samples] | None:
        """The oldest piece, and how many samples came before it; None if there is none. For the event loop."""
        try:
            return self._queue.popleft()
        except IndexError:
            return None


class Speaker:
    """What is to be played: given in order, cut with a fade, held and resumed."""

    def __init__(self, rate: int, *, fade_ms: float = 5.0, longest_ms: float = 1000.0) -> None:
        self.dropped = 0
        """Pieces for which there was no room: the device does not keep up with the clock."""
        self._fade = max(1, round(rate * fade_ms / 1000))
        self._longest = round(rate * longest_ms / 1000)
        self._queue: deque[tuple[int, Samples]] = deque()
        self._put = self._taken = 0  # samples; each has one writer
        self._now = 0  # the run that is to sound, what is older has been cut: written by the event loop
        self._held = False  # likewise
        self._of = 0  # the run that sounded last: the device's
        self._silent = True  # likewise: what it gave last was silence, so what comes next rises from it

    # For the event loop -------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many samples wait."""
        return self._put - self._taken

    def play(self, samples: Samples) -> None:
        """Play these, of shape `(n,)`, after all others."""
        if self.waiting + len(samples) > self._longest:
            self.dropped += 1
            return
        self._put += len(samples)
        self._queue.append((self._now, samples))

    def cut(self) -> None:
        """Fade out, and forget what waits."""
        self._now += 1
        self._held = False

    def hold(self) -> None:
        """Fade out, and keep what waits."""
        self._held = True

    def resume(self) -> None:
        """Rise from silence, and go on."""
        self._held = False

    # For the device -----------------------------------------------------------------------------------------------

    def fill(self, out: Samples) -> None:
        """Fill this array, of shape `(n,)`, with what is due: sound, or silence. Never waits."""
        out[:] = 0
        now, held, at = self._now, self._held, 0
        old = self._of < now
        if not self._silent and (held or old):
            at = self._take(out[: self._fade], self._of)
            out[:at] = np.rint(out[:at] * np.linspace(1.0, 0.0, at, endpoint=False))
            self._silent = True
        while self._queue and self._queue[0][0] < now:
            self._taken += len(self._queue.popleft()[1])
        self._of = now
        if held:
            return
        count = self._take(out[at:], now)
        if count and self._silent:
            rise = min(self._fade, count)
            out[at : at + rise] = np.rint(out[at : at + rise] * np.linspace(0.0, 1.0, rise, endpoint=False))
        self._silent = at + count < len(out)

    def _take(self, out: Samples, of: int) -> int:
        """Take what there is of this run, in order; how much that was."""
        at = 0
        while at < len(out) and self._queue and self._queue[0][0] == of:
            _, samples = self._queue.popleft()
            part = samples[: len(out) - at]
            out[at : at + len(part)] = part
            if len(part) < len(samples):
                self._queue.appendleft((of, samples[len(part) :]))
            at += len(part)
            self._taken += len(part)
        return at
