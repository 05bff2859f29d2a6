"""Write a WAV file of two channels that is valid at every moment."""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

import numpy as np

from bargein.pipeline.lowlevel import Samples

__all__ = ["MAX_BYTES", "WaveFile"]

CHANNELS: Final = 2
FRAME_BYTES: Final = 2 * CHANNELS
"""Bytes of one sample of all channels."""
HEADER_BYTES: Final = 44
MAX_BYTES: Final = 2**32 - 1
"""Maximum size of a WAV file: its header stores sizes in 32 bits."""


class WaveFile:
    """A WAV file of 16-bit PCM with two channels, each written at any position, in any order.

    Positions are samples since the beginning. What was never written is silence. Samples at or after `base` wait in
    memory until `flush`, which also corrects the header, so that a killed process leaves a readable file. Samples
    before `base` are written at once.

    Args:
        path: Where to create the file.
        rate: Samples a second (Hz).
        overwrite: Whether an existing file is replaced.
        max_bytes: Maximum size of the file in bytes.

    Raises:
        OSError: The disk refused; also raised by `place` and `flush`.
    """

    def __init__(self, path: str | os.PathLike[str], rate: int, *, overwrite: bool, max_bytes: int) -> None:
        self.path = os.fspath(path)
        self.rate = rate
        self.base = 0
        """Number of samples in the file."""
        self._max_samples = (max_bytes - HEADER_BYTES) // FRAME_BYTES
        self._full = False
        self._window = np.zeros((rate * 5 // 4, CHANNELS), "<i2")  # from `base` on
        # Unbuffered: after an error no data remains that a later write would put at the wrong position.
        self._file = open(path, "w+b" if overwrite else "x+b", buffering=0)  # noqa: SIM115 - closed by its owner
        try:
            self._write(0, self._header())
        except BaseException:
            self._file.close()
            raise

    def place(self, channel: int, at: int, samples: Samples) -> None:
        """Replace samples of one channel from position `at` on. `samples` has shape `(n,)`."""
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
        """Write everything before position `end`, and the header. What the disk refuses becomes silence.

        Raises:
            OSError: With `EFBIG`, once, when the file is full. Later samples are left out.
        """
        full, base, end = end > self._max_samples, self.base, min(end, self._max_samples)
        if end > base:
            data = self._window[: end - base].tobytes()
            self._forget(end)
            self._write(HEADER_BYTES + base * FRAME_BYTES, data)
            self._file.truncate(HEADER_BYTES + end * FRAME_BYTES)  # a long silence becomes a hole in the file
            self._write(0, self._header())
        if full and not self._full:
            self._full = True
            raise OSError(
                errno.EFBIG,
                f"the recording is full after {end / self.rate:.0f} s, at {HEADER_BYTES + end * FRAME_BYTES} bytes; "
                "later audio is left out. Use one recording for each session, or a lower rate",
                self.path,
            )

    def close(self) -> None:
        """Close the file without writing what was not flushed."""
        self._file.close()

    def _forget(self, base: int) -> None:
        gone, self.base = base - self.base, base
        kept = self._window[gone:]
        self._window[: len(kept)] = kept
        self._window[len(kept) :] = 0

    def _patch(self, channel: int, at: int, samples: Samples) -> None:
        offset, size = HEADER_BYTES + at * FRAME_BYTES, len(samples) * FRAME_BYTES
        self._file.seek(offset)
        there = (self._file.read(size) or b"").ljust(size, b"\0")  # shorter only after a failed write
        both = np.frombuffer(there, "<i2").reshape(-1, CHANNELS).copy()
        both[:, channel] = samples
        self._write(offset, both.tobytes())

    def _write(self, offset: int, data: bytes) -> None:
        self._file.seek(offset)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _header(self) -> bytes:
        size = self.base * FRAME_BYTES
        form = struct.pack("<HHLLHH", 1, CHANNELS, self.rate, self.rate * FRAME_BYTES, FRAME_BYTES, 16)
        riff = struct.pack("<4sL4s", b"RIFF", HEADER_BYTES - 8 + size, b"WAVE")
        return riff + struct.pack("<4sL", b"fmt ", len(form)) + form + struct.pack("<4sL", b"data", size)
