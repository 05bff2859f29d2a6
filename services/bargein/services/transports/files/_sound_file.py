"""Sound files: `SoundReader` reads any format that PyAV knows, `WaveWriter` writes WAV, both in constant memory."""

from __future__ import annotations

import errno
import os
import wave
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from bargein.pipeline import Audio, End
from bargein.pipeline.lowlevel import Samples, import_extra, ns
from bargein.processors import Resample, mix_channels

__all__ = ["SoundReader", "WaveWriter"]

RATES = (4_000, 384_000)
"""Lowest and highest rate of a file that is read, in Hz."""
MAX_CHANNELS = 64
"""Most channels of a file that is read."""


class SoundReader:
    """Reads the sound of a file in pieces, at a given rate. Use it as a context manager.

    Entering it raises `OSError` (such as `FileNotFoundError`) for a file that cannot be opened, `ValueError` for a file
    without readable sound, and `ModuleNotFoundError` without PyAV. Reading raises `ValueError` for a damaged file, and
    for an absurd rate or number of channels.

    Args:
        path: The file.
        rate: Rate of the sound that is yielded, in samples a second (Hz).
        channels: 1 or 2.
    """

    def __init__(self, path: str | os.PathLike[str], *, rate: int, channels: int) -> None:
        self.path = os.fspath(path)
        self.rate = rate
        self.channels = channels
        self.seconds: float | None = None
        """Length of the file, if the file states it."""
        self._file: Any = None

    def __enter__(self) -> Self:
        self._av = import_extra("av", "audio", "to read a sound file")
        if not os.path.exists(self.path):
            raise FileNotFoundError(errno.ENOENT, "this file does not exist", self.path)
        # Broken files have broken tags, whose bytes are not always UTF-8. PyAV 19 reads such bytes as surrogates, and
        # no longer has the option.
        options = {"metadata_errors": "replace"} if int(self._av.__version__.split(".")[0]) < 19 else {}
        try:
            self._file = self._av.open(self.path, **options)
        except (self._av.error.FFmpegError, UnicodeError) as error:
            raise self._unreadable_error(error) from None
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
        """Yield all of the sound, this many samples at a time. The last piece may be shorter."""
        rest, count = np.empty((0, self.channels), np.int16), 0
        for array in self._decode():
            rest = np.concatenate((rest, array))
            whole = len(rest) - len(rest) % samples
            for at in range(0, whole, samples):
                yield self._audio(rest[at : at + samples], count)
                count += samples
            rest = rest[whole:]
        if len(rest):
            yield self._audio(rest, count)

    def _audio(self, samples: Samples, count: int) -> Audio:
        mono = samples.reshape(-1) if self.channels == 1 else samples
        return Audio(samples=mono, rate=self.rate, pts=ns(count, self.rate))

    def _decode(self) -> Iterator[Samples]:
        """Yield the decoder's sound at the wanted rate, in arrays of shape `(n, channels)`."""
        layout = "mono" if self.channels == 1 else "stereo"
        convert = self._av.AudioResampler(format="s16", layout=layout, rate=self.rate)
        try:
            for frame in self._file.decode(audio=0):
                self._check_format(frame.sample_rate, frame.layout.nb_channels)
                for each in convert.resample(frame):
                    yield each.to_ndarray().reshape(-1, self.channels)
            for each in convert.resample(None):
                yield each.to_ndarray().reshape(-1, self.channels)
        except (self._av.error.FFmpegError, UnicodeError) as error:
            raise self._unreadable_error(error) from None

    def _check_format(self, rate: int, channels: int) -> None:
        """Raise `ValueError` for a format that no recorder writes.

        At a rate of 1 Hz a file of 4 kB is half an hour of sound: to convert it takes 12 s and more than 1 GB.
        """
        if not RATES[0] <= rate <= RATES[1] or not 1 <= channels <= MAX_CHANNELS:
            raise ValueError(
                f"{self.path!r} has {channels} channels at {rate} Hz; expected at most {MAX_CHANNELS} channels at "
                f"{RATES[0]} to {RATES[1]} Hz"
            )

    def _unreadable_error(self, error: Exception) -> Exception:
        if isinstance(error, PermissionError | IsADirectoryError):
            return error
        return ValueError(f"{self.path!r} is not a sound file that can be read: {error}")


class WaveWriter:
    """Writes a WAV file of 16-bit mono sound. Use it as a context manager.

    The header is correct at every moment, so a program that is killed leaves a readable file. Entering it raises
    `OSError` if the file exists (without `overwrite`) or its folder does not; writing raises `OSError` for disk errors.

    Args:
        path: The file.
        rate: Rate of the file in samples a second (Hz); None for the rate of the first sound.
        overwrite: Whether a file that exists may be replaced.
    """

    def __init__(self, path: str | os.PathLike[str], *, rate: int | None = None, overwrite: bool = False) -> None:
        self.path = os.fspath(path)
        self.rate = rate
        self.overwrite = overwrite
        self.ms = 0.0
        """Length of the sound written so far, in milliseconds."""
        self._file: wave.Wave_write | None = None
        self._resample: Resample | None = None

    def __enter__(self) -> Self:
        try:
            raw = open(self.path, "wb" if self.overwrite else "xb")
        except FileExistsError as error:
            what = "this file exists; choose another path, or give overwrite=True to replace it"
            raise FileExistsError(error.errno, what, self.path) from None
        except FileNotFoundError as error:
            what = f"the folder {os.path.dirname(self.path)!r} does not exist; make it first, with os.makedirs()"
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
        """Append sound."""
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
