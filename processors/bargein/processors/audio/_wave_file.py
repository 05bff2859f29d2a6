"""A WAV file of two channels that can be read at every moment."""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST", "WaveFile"]

Samples = npt.NDArray[np.int16]
CHANNELS: Final = 2
WIDTH: Final = 2 * CHANNELS
"""Bytes a position."""
HEADER: Final = 44
LARGEST: Final = 2**32 - 1
"""Bytes: the sizes in its header are numbers of 32 bits."""


class WaveFile:
    """16-bit PCM, two channels, each written at any position, in any order.

    Positions are samples since the beginning; what nobody placed is silence. What is placed beyond `base` waits in
    memory until it is flushed, and then the sizes in the header are right, so that who is killed leaves a file that
    can be read. What is placed before `base` is patched in the file at once.

    Raises `OSError` of the disk, here and in `place` and `flush`.
    """

    def __init__(self, path: str | os.PathLike[str], rate: int, *, overwrite: bool, max_bytes: int) -> None:
        self.path = os.fspath(path)
        self.rate = rate
        self.base = 0
        """How many samples are in the file."""
        self._most = (max_bytes - HEADER) // WIDTH
        self._full = False
        self._window = np.zeros((rate * 5 // 4, CHANNELS), "<i2")  # from `base` on
        # Unbuffered: after an error nothing is left behind that a later write would put at the wrong time.
        self._file = open(path, "w+b" if overwrite else "x+b", buffering=0)  # noqa: SIM115 - closed by its owner
        try:
            self._write(0, self._header())
        except BaseException:
            self._file.close()
            raise

    def place(self, channel: int, at: int, samples: Samples) -> None:
        """Put mono samples of shape `(n,)` in place of what is there."""
        early = min(len(samples), max(0, self.base - at))
        if early:
            self._patch(channel, at, samples[:early])
        begin, end = at + early - self.base, at + len(samples) - self.base
        if self._full or end <= begin:
            return
        if end > len(self._window):
            grown = np.zeros((max(end, 2 * len(self._window)), CHANNELS), "<i2")
            grown[: len(self._window)] = self._window
            self._window = grown
        self._window[begin:end, channel] = samples[early:]

    def flush(self, end: int) -> None:
        """Write all before `end`, and the header. What the disk did not take is lost, and its place kept.

        Raises `OSError` with `EFBIG` when the file is full: once, and what stands beyond is left out from then on.
        """
        full, base, end = end > self._most, self.base, min(end, self._most)
        if end > base:
            data = self._window[: end - base].tobytes()
            self._forget(end)
            self._write(HEADER + base * WIDTH, data)
            self._file.truncate(HEADER + end * WIDTH)  # a long silence is a hole
            self._write(0, self._header())
        if full and not self._full:
            self._full = True
            raise OSError(
                errno.EFBIG,
                f"the recording is full: after {end / self.rate:.0f} s, {HEADER + end * WIDTH} bytes is all it may "
                "have, and what follows is left out; give each session its own, or record at a lower rate",
                self.path,
            )

    def close(self) -> None:
        """Close it. What was not flushed is not written."""
        self._file.close()

    def _forget(self, base: int) -> None:
        gone, self.base = base - self.base, base
        kept = self._window[gone:]
        self._window[: len(kept)] = kept
        self._window[len(kept) :] = 0

    def _patch(self, channel: int, at: int, samples: Samples) -> None:
        offset, size = HEADER + at * WIDTH, len(samples) * WIDTH
        self._file.seek(offset)
        there = (self._file.read(size) or b"").ljust(size, b"\0")  # shorter only where a write has failed
        both = np.frombuffer(there, "<i2").reshape(-1, CHANNELS).copy()
        both[:, channel] = samples
        self._write(offset, both.tobytes())

    def _write(self, offset: int, data: bytes) -> None:
        self._file.seek(offset)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _header(self) -> bytes:
        size = self.base * WIDTH
        form = struct.pack("<HHLLHH", 1, CHANNELS, self.rate, self.rate * WIDTH, WIDTH, 16)
        riff = struct.pack("<4sL4s", b"RIFF", HEADER - 8 + size, b"WAVE")
        return riff + struct.pack("<4sL", b"fmt ", len(form)) + form + struct.pack("<4sL", b"data", size)
