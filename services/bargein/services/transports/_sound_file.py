"""Sound files: read piece by piece whatever PyAV can, and written as WAV. Never more than a piece is in memory."""

from __future__ import annotations

import errno
import os
import wave
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bargein.pipeline import Audio, End
from bargein.pipeline.lowlevel import import_extra
from bargein.processors import Resample, mix_channels

__all__ = ["SoundReader", "WaveWriter"]

Samples = npt.NDArray[np.int16]


class SoundReader:
    """The sound of a file at a rate, cut into pieces. Use it as a context manager.

    Raises `FileNotFoundError`, `PermissionError` and the like, `ValueError` for a file in which there is no sound that
    can be read, and `ModuleNotFoundError` without PyAV.
    """

    def __init__(self, path: str | os.PathLike[str], *, rate: int, channels: int) -> None:
        self.path = os.fspath(path)
        self.rate = rate
        self.channels = channels
        self.seconds: float | None = None
        """How long it is, if the file says so."""
        self._file: Any = None

    def __enter__(self) -> Self:
        self._av = import_extra("av", "audio", "to read a sound file")
        if not os.path.exists(self.path):
            raise FileNotFoundError(errno.ENOENT, "there is no such file", self.path)
        try:
            self._file = self._av.open(self.path)
        except self._av.error.FFmpegError as error:
            raise self._unreadable(error) from None
        if not self._file.streams.audio:
            self._file.close()
            raise ValueError(f"{self.path!r} has no sound in it")
        if self._file.duration is not None:
            self.seconds = self._file.duration / self._av.time_base
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def pieces(self, samples: int) -> Iterator[Audio]:
        """All of it, so many samples at a time; the last may be shorter."""
        kept, count = np.empty((0, self.channels), np.int16), 0
        for array in self._decoded():
            kept = np.concatenate((kept, array))
            whole = len(kept) - len(kept) % samples
            for at in range(0, whole, samples):
                yield self._audio(kept[at : at + samples], count)
                count += samples
            kept = kept[whole:]
        if len(kept):
            yield self._audio(kept, count)

    def _audio(self, samples: Samples, count: int) -> Audio:
        mono = samples.reshape(-1) if self.channels == 1 else samples
        return Audio(samples=mono, rate=self.rate, pts=count * 1_000_000_000 // self.rate)

    def _decoded(self) -> Iterator[Samples]:
        """What the decoder gives, at our rate, shape `(n, channels)`."""
        layout = "mono" if self.channels == 1 else "stereo"
        convert = self._av.AudioResampler(format="s16", layout=layout, rate=self.rate)
        try:
            for frame in self._file.decode(audio=0):
                for each in convert.resample(frame):
                    yield each.to_ndarray().reshape(-1, self.channels)
            for each in convert.resample(None):
                yield each.to_ndarray().reshape(-1, self.channels)
        except self._av.error.FFmpegError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> Exception:
        if isinstance(error, PermissionError | IsADirectoryError):
            return error
        return ValueError(f"{self.path!r} is no sound file that can be read: {error}")


class WaveWriter:
    """A WAV file, 16-bit mono, at the rate of what comes first, or at `rate`. Use it as a context manager.

    Its header is right at every moment, so that who is killed leaves a file that can be read. Raises `OSError`: when
    there is such a file, unless `overwrite`, or no such folder, and of the disk.
    """

    def __init__(self, path: str | os.PathLike[str], *, rate: int | None = None, overwrite: bool = False) -> None:
        self.path = os.fspath(path)
        self.rate = rate
        self.overwrite = overwrite
        self.ms = 0.0
        """How much has been written, in milliseconds."""
        self._file: wave.Wave_write | None = None
        self._resample: Resample | None = None

    def __enter__(self) -> Self:
        try:
            raw = open(self.path, "wb" if self.overwrite else "xb")
        except FileExistsError as error:
            what = "there is such a file already; choose another path, or say overwrite=True to replace it"
            raise FileExistsError(error.errno, what, self.path) from None
        except FileNotFoundError as error:
            what = f"there is no folder {os.path.dirname(self.path)!r}; make it first, with os.makedirs()"
            raise FileNotFoundError(error.errno, what, self.path) from None
        self._raw = raw
        self._file = wave.open(raw, "wb")
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file, self._file = self._file, None
        assert file is not None
        try:
            if self._resample is not None:
                self._convert(file, End())
            if not self.ms:
                file.setframerate(self.rate or 16_000)
            file.close()
        finally:
            self._raw.close()

    def write(self, frame: Audio) -> None:
        """Write sound after what there is."""
        file = self._file
        if file is None:
            return
        if self.rate is None:
            self.rate = frame.rate
        if not self.ms:
            file.setframerate(self.rate)
        self.ms += frame.ms
        mono = frame.with_samples(mix_channels(frame.samples, 1))
        if frame.rate == self.rate and self._resample is None:
            file.writeframes(mono.to_bytes())
            return
        if self._resample is None:
            self._resample = Resample(self.rate)
        self._convert(file, Audio(samples=mono.samples, rate=frame.rate))

    def _convert(self, file: wave.Wave_write, frame: Audio | End) -> None:
        assert self._resample is not None
        for each in self._resample.process(frame):
            if isinstance(each, Audio):
                file.writeframes(each.to_bytes())
