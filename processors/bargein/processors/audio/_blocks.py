"""The base of the processors that hand sound to WebRTC's audio processing, which takes blocks of 10 ms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from bargein.pipeline import Audio, End, Interrupt, Processor, ResponseEnded
from bargein.pipeline.lowlevel import Samples, ns

from .channels import mix_channels

__all__ = ["BLOCKS_A_SECOND", "BlockProcessor"]

GAP_NS = 20_000_000
"""A frame whose `pts` is more than this many nanoseconds after the previous samples starts a new stretch."""
BLOCKS_A_SECOND = 100
"""The processing works in blocks of 10 ms."""
MIN_RATE = 8000
"""The lowest rate that the processing takes, in Hz."""


class BlockProcessor(Processor):
    """Cuts a stream of sound into whole blocks of 10 ms. A subclass processes them.

    Frames of whole blocks keep their length, which are those of 10, 20 or 40 ms. Of others the remainder waits for the
    next frame, less than 10 ms. It comes out at a boundary: the end, the end of a response, another format, or a gap in
    `pts`.

    Args:
        max_channels: Sound with more channels is mixed to mono.
    """

    def __init__(self, *, max_channels: int) -> None:
        self._max_channels = max_channels
        self._last: Audio | None = None  # the latest frame of the present stretch
        self._start = self._in = 0  # its pts, and samples since
        self._rest: Samples | None = None

    @abstractmethod
    def _begin(self, rate: int, channels: int) -> None:
        """Prepare for sound of a format that was not the last one."""

    @abstractmethod
    def _filter(self, samples: Samples, rate: int) -> Samples:
        """Return processed samples of the same shape. Only the last ones of a stretch are not whole blocks."""

    def _restart(self) -> None:
        """Note that there was a gap in the sound."""

    def _process(self, frame: Audio | ResponseEnded | Interrupt | End) -> Iterator[Audio | ResponseEnded]:
        """Yield the processed frame, and the remainder at a boundary."""
        if isinstance(frame, Audio):
            yield from self._add(frame)
        elif isinstance(frame, Interrupt):
            if self._last is not None and self._last.epoch < frame.epoch:
                self._last = self._rest = None
        else:
            yield from self._flush()
            if isinstance(frame, ResponseEnded):
                yield frame

    def _add(self, frame: Audio) -> Iterator[Audio]:
        if frame.channels > self._max_channels:
            frame = frame.with_samples(mix_channels(frame.samples, 1))
        last = self._last
        if last is None or (last.rate, last.channels) != (frame.rate, frame.channels):
            yield from self._flush()
            if frame.rate < MIN_RATE or frame.rate % BLOCKS_A_SECOND:
                raise ValueError(
                    f"{self.name} got sound at {frame.rate} Hz; it takes 8000 Hz and more, in whole hundreds. "
                    f"Insert Resample(16000) above it"
                )
            self._begin(frame.rate, frame.channels)
            self._start, self._in = frame.pts, 0
        elif not self._continues(last, frame):
            yield from self._flush()
            self._restart()
            self._start, self._in = frame.pts, 0
        self._last = frame
        samples = frame.samples if self._rest is None else np.concatenate([self._rest, frame.samples])
        whole = len(samples) - len(samples) % (frame.rate // BLOCKS_A_SECOND)
        aligned = self._rest is None and whole == len(samples)
        self._rest = samples[whole:] if whole < len(samples) else None
        if whole:
            yield self._make(samples[:whole], frame, frame.pts if aligned else None)

    def _continues(self, last: Audio, frame: Audio) -> bool:
        """Return whether a frame continues the stretch of `last`. Sources without a clock leave `pts` at 0."""
        same = (frame.response_id, frame.item_id, frame.epoch) == (last.response_id, last.item_id, last.epoch)
        return same and frame.pts - (last.pts + last.duration) <= GAP_NS

    def _make(self, samples: Samples, like: Audio, pts: int | None) -> Audio:
        if pts is None:
            pts = self._start + ns(self._in, like.rate)
        self._in += len(samples)
        return Audio(
            samples=self._filter(samples, like.rate),
            rate=like.rate,
            pts=pts,
            epoch=like.epoch,
            response_id=like.response_id,
            item_id=like.item_id,
        )

    def _flush(self) -> Iterator[Audio]:
        """Yield the remainder."""
        rest, last = self._rest, self._last
        self._rest = None
        if rest is not None and last is not None:
            yield self._make(rest, last, None)
