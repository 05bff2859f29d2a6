"""Another sampling rate, another number of channels, without losing or inventing a sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from bargein.pipeline import Audio, AudioFormat, End, Interrupt, Processor, ResponseEnded
from bargein.pipeline.lowlevel import import_extra

from ._channels import mixed

__all__ = ["Resample"]

Samples = npt.NDArray[np.int16]
SECOND = 1_000_000_000
GAP = 1_000_000
"""A `pts` that is more than so many nanoseconds ahead of the samples so far begins a new stretch."""


class Resample(Processor):
    """Streaming conversion to `rate` samples a second and, if given, 1 or 2 `channels`.

    The sound is that of libswresample (through PyAV, extra `audio`): delay of 1 to 2 ms and constant, about 90 dB of
    signal to noise, and as many samples out as in, by the ratio of the rates, to within one. What it holds back comes
    out at a boundary: the end, the end of a response, another response, another input format, or a gap in `pts`. An
    interrupt drops what belonged to the reply; the user's own sound is never dropped. Frames that fit already pass as
    they are.

    Raises `ValueError` for a rate or a number of channels that cannot be, and `ModuleNotFoundError` without PyAV.
    """

    latency_ms = 2.0

    def __init__(self, rate: int, channels: int | None = None) -> None:
        if type(rate) is not int or rate <= 0:
            raise ValueError(f"Resample({rate!r}): expected samples a second as a positive int, such as 16000")
        if channels not in (None, 1, 2):
            raise ValueError(f"Resample(channels={channels!r}): expected 1 (mono), 2 (stereo), or None to keep them")
        self.rate = rate
        self.channels = channels
        self.audio_out = AudioFormat(rate, channels)
        self._av = import_extra("av", "audio", "Resample")
        self._swr: Any = None
        self._last: Audio | None = None  # the latest frame of the present stretch
        self._start = self._in = self._out = 0  # its pts, and samples in and out since

    def process(self, frame: Audio | ResponseEnded | Interrupt | End) -> Iterator[Audio | ResponseEnded]:
        """Convert a frame; give the tail at a boundary."""
        if isinstance(frame, Audio):
            yield from self._convert(frame)
        elif isinstance(frame, Interrupt):
            if self._last is not None and self._last.epoch < frame.epoch:
                self._swr = self._last = None
        else:
            yield from self._flush()
            if isinstance(frame, ResponseEnded):
                yield frame

    def _convert(self, frame: Audio) -> Iterator[Audio]:
        if self._last is not None and not self._continues(self._last, frame):
            yield from self._flush()
        if frame.channels > 2:
            raise ValueError(
                f"Resample takes mono or stereo, and got {frame.channels} channels; "
                "insert a processor that mixes them down before it"
            )
        wanted = self.channels or frame.channels
        if frame.rate == self.rate:
            yield frame if frame.channels == wanted else frame.with_samples(mixed(frame.samples, wanted))
            return
        if self._swr is None:
            layout = "mono" if min(wanted, frame.channels) == 1 else "stereo"
            self._swr = self._av.AudioResampler(format="s16", layout=layout, rate=self.rate)
            self._start, self._in, self._out = frame.pts, 0, 0
        self._last = frame
        self._in += len(frame.samples)
        narrow = mixed(frame.samples, min(wanted, frame.channels))
        yield from self._framed(self._swr.resample(self._packed(narrow, frame.rate)), frame)

    def _flush(self) -> Iterator[Audio]:
        """What is held back, as the end of its stretch; the next frame begins another."""
        swr, last = self._swr, self._last
        self._swr = self._last = None
        if swr is not None and last is not None:
            yield from self._framed(swr.resample(None), last)

    def _continues(self, last: Audio, frame: Audio) -> bool:
        """Whether a frame belongs to the same stretch of sound. A `pts` that does not move says nothing."""
        ahead = frame.pts - (self._start + self._in * SECOND // last.rate)
        return (
            frame.rate == last.rate
            and frame.channels == last.channels
            and frame.response_id == last.response_id
            and frame.item_id == last.item_id
            and frame.epoch == last.epoch
            and ahead <= GAP
        )

    def _packed(self, samples: Samples, rate: int) -> Any:
        layout = "mono" if samples.ndim == 1 else "stereo"
        packed = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout=layout
        )
        packed.sample_rate = rate
        return packed

    def _framed(self, made: list[Any], like: Audio) -> Iterator[Audio]:
        for piece in made:
            samples: Samples = piece.to_ndarray().reshape(-1)
            if piece.layout.nb_channels == 2:
                samples = samples.reshape(-1, 2)
            if not len(samples):
                continue
            pts = self._start + self._out * SECOND // self.rate
            self._out += len(samples)
            yield Audio(
                samples=mixed(samples, self.channels or like.channels),
                rate=self.rate,
                pts=pts,
                epoch=like.epoch,
                response_id=like.response_id,
                item_id=like.item_id,
            )
