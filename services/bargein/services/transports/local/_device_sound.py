"""Sound between two threads, the sound device's and the event loop's. Neither ever waits for the other.

This relies on two properties of CPython: `append`, `popleft` and `appendleft` of a deque are atomic, and so is reading
or writing one attribute. Every number and every end of a queue has one writer. A lock would be simpler, but the event
loop could hold it while the device needs sound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from bargein.pipeline.lowlevel import Samples

__all__ = ["Microphone", "Speaker"]


class Microphone:
    """Sound that was recorded and has not been taken yet. When it is full, the oldest sound is dropped.

    Args:
        max_pieces: Number of pieces that may wait.
        wake: Called in the device's thread after each piece.
    """

    def __init__(self, *, max_pieces: int, wake: Callable[[], None]) -> None:
        self.dropped = 0
        """Pieces that were dropped because nothing took them in time."""
        self._max_pieces = max_pieces
        self._wake = wake
        self._queue: deque[tuple[int, Samples]] = deque()
        self._count = 0

    def record(self, samples: Samples) -> None:
        """Add samples of shape `(n,)`. For the device's thread; never waits."""
        while len(self._queue) >= self._max_pieces:
            try:
                self._queue.popleft()
            except IndexError:  # the event loop took it between the check and here
                break
            self.dropped += 1
        self._queue.append((self._count, samples))
        self._count += len(samples)
        self._wake()

    def take(self) -> tuple[int, Samples] | None:
        """Remove and return the oldest piece and the number of samples before it; None if there is none.

        For the event loop.
        """
        try:
            return self._queue.popleft()
        except IndexError:
            return None


class Speaker:
    """Sound that waits to be played: in order, cut with a fade, held and resumed.

    Args:
        rate: Rate of the sound, in samples a second (Hz).
        fade_ms: Length of the fades, in milliseconds.
        max_ms: Amount of sound that may wait, in milliseconds; more is dropped.
    """

    def __init__(self, rate: int, *, fade_ms: float = 5.0, max_ms: float = 1000.0) -> None:
        self.dropped = 0
        """Pieces for which there was no room, because the device is slower than the clock."""
        self._fade = max(1, round(rate * fade_ms / 1000))
        self._max_samples = round(rate * max_ms / 1000)
        self._queue: deque[tuple[int, Samples]] = deque()
        # Each cut begins a new run. Sound of an earlier run has been cut and is not played.
        self._put = 0  # samples: written by the event loop
        self._taken = 0  # samples: written by the device's thread
        self._run = 0  # the run that is to be played: written by the event loop
        self._held = False  # written by the event loop
        self._played_run = 0  # the run that was played last: written by the device's thread
        # Whether the last sample was silence, so that the next sound must fade in. Written by the device's thread.
        self._silent = True

    # For the event loop -------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """The number of samples that wait."""
        return self._put - self._taken

    def play(self, samples: Samples) -> bool:
        """Play samples of shape `(n,)` after all that wait. Return False if there is no room for them."""
        if self.waiting + len(samples) > self._max_samples:
            self.dropped += 1
            return False
        self._put += len(samples)
        self._queue.append((self._run, samples))
        return True

    def cut(self) -> None:
        """Fade out, and drop what waits."""
        self._run += 1
        self._held = False

    def hold(self) -> None:
        """Fade out, and keep what waits."""
        self._held = True

    def resume(self) -> None:
        """Fade in, and go on."""
        self._held = False

    # For the device's thread --------------------------------------------------------------------------------------

    def fill(self, out: Samples) -> None:
        """Fill an array of shape `(n,)` with the sound that is due, or with silence. Never waits."""
        out[:] = 0
        run, held, at = self._run, self._held, 0  # read once: the event loop may change them meanwhile
        was_cut = self._played_run < run
        if not self._silent and (held or was_cut):
            at = self._take(out[: self._fade], self._played_run)
            out[:at] = np.rint(out[:at] * np.linspace(1.0, 0.0, at, endpoint=False))
            self._silent = True
        while self._queue and self._queue[0][0] < run:
            self._taken += len(self._queue.popleft()[1])
        self._played_run = run
        if held:
            return
        count = self._take(out[at:], run)
        if count and self._silent:
            rise = min(self._fade, count)
            out[at : at + rise] = np.rint(out[at : at + rise] * np.linspace(0.0, 1.0, rise, endpoint=False))
        self._silent = at + count < len(out)

    def _take(self, out: Samples, run: int) -> int:
        """Move the sound of this run into an array, in order. Return the number of samples."""
        at = 0
        while at < len(out) and self._queue and self._queue[0][0] == run:
            _, samples = self._queue.popleft()
            part = samples[: len(out) - at]
            out[at : at + len(part)] = part
            if len(part) < len(samples):
                self._queue.appendleft((run, samples[len(part) :]))
            at += len(part)
            self._taken += len(part)
        return at
