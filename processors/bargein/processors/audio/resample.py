"""Convert the sampling rate and the number of channels of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bargein.pipeline import Audio, AudioFormat, End, Interrupt, Processor, ResponseEnded
from bargein.pipeline.lowlevel import Samples, check_options, import_extra, ns

from .channels import mix_channels

__all__ = ["Resample"]

GAP_NS = 1_000_000
"""A frame whose `pts` is more than this many nanoseconds after the previous samples starts a new stretch."""


class Resample(Processor):
    """Converts a stream of audio to another sampling rate and, optionally, to mono or stereo.

    It uses libswresample through PyAV (extra `audio`): a constant delay of 1 to 2 ms and about 90 dB signal to noise.
    The number of samples that leave is exact to one sample, however long the stream is. Frames that have the right
    format already pass unchanged.

    The last samples, which are held back for the filter, come out at a boundary: the end, the end of a response,
    another response, another input format, or a gap in `pts`. An interrupt drops held-back samples of the reply, but
    never the user's.

    Args:
        rate: Samples a second (Hz) of the output.
        channels: 1 for mono, 2 for stereo, or None to keep the channels of the input. Mono is the mean of all channels.

    Raises:
        ValueError: `rate` or `channels` is out of its range.
        ModuleNotFoundError: PyAV is not installed.
    """

    latency_ms = 2.0

    @check_options
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
        """Yield the converted frame, and the held-back samples at a boundary."""
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
        if frame.channels > 2:  # microphone arrays; libswresample would need to know where each channel stands
            frame = frame.with_samples(mix_channels(frame.samples, 1))
        if self._last is not None and not self._continues(self._last, frame):
            yield from self._flush()
        wanted = self.channels or frame.channels
        if frame.rate == self.rate:
            yield frame if frame.channels == wanted else frame.with_samples(mix_channels(frame.samples, wanted))
            return
        if self._swr is None:
            layout = "mono" if min(wanted, frame.channels) == 1 else "stereo"
            self._swr = self._av.AudioResampler(format="s16", layout=layout, rate=self.rate)
            self._start, self._in, self._out = frame.pts, 0, 0
        self._last = frame
        self._in += len(frame.samples)
        narrow = mix_channels(frame.samples, min(wanted, frame.channels))
        yield from self._make_frames(self._swr.resample(self._pack(narrow, frame.rate)), frame)

    def _flush(self) -> Iterator[Audio]:
        """Yield what is held back. The next frame starts a new stretch."""
        swr, last = self._swr, self._last
        self._swr = self._last = None
        if swr is not None and last is not None:
            yield from self._make_frames(swr.resample(None), last)

    def _continues(self, last: Audio, frame: Audio) -> bool:
        """Return whether a frame continues the stretch of `last`.

        A `pts` that does not advance is not a gap: sources without a clock leave it at 0.
        """
        ahead = frame.pts - (self._start + ns(self._in, last.rate))
        return (
            frame.rate == last.rate
            and frame.channels == last.channels
            and frame.response_id == last.response_id
            and frame.item_id == last.item_id
            and frame.epoch == last.epoch
            and ahead <= GAP_NS
        )

    def _pack(self, samples: Samples, rate: int) -> Any:
        layout = "mono" if samples.ndim == 1 else "stereo"
        packed = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout=layout
        )
        packed.sample_rate = rate
        return packed

    def _make_frames(self, pieces: list[Any], like: Audio) -> Iterator[Audio]:
        for piece in pieces:
            samples: Samples = piece.to_ndarray().reshape(-1)
            if piece.layout.nb_channels == 2:
                samples = samples.reshape(-1, 2)
            if not len(samples):
                continue
            pts = self._start + ns(self._out, self.rate)
            self._out += len(samples)
            yield Audio(
                samples=mix_channels(samples, self.channels or like.channels),
                rate=self.rate,
                pts=pts,
                epoch=like.epoch,
                response_id=like.response_id,
                item_id=like.item_id,
            )
