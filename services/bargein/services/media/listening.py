"""The peer's voice: packets in, one unbroken stream of sound out. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from bargein.pipeline import Audio
from bargein.pipeline.lowlevel import import_extra

from .reorder import Reorder

__all__ = ["RATE", "Listening"]

log = logging.getLogger("bargein.webrtc")

RATE = 48_000
"""Samples a second (Hz) of Opus, and of its RTP clock."""
SECOND = 1_000_000_000
WRAP = 1 << 32
FILL = 2 * RATE
"""A gap of up to so many samples is filled with silence; a longer one is a gap in `pts`."""


class Listening:
    """Opus packets of one peer as `Audio` of 48 kHz, mono, with `pts` counted from samples.

    What is lost is silence of the same length. A sender that sends nothing while nobody speaks (a muted microphone,
    discontinuous transmission) is heard as up to two seconds of silence, so that whoever waits for the end of speech
    hears it.
    """

    def __init__(self) -> None:
        av = import_extra("av", "webrtc", "WebRTC")
        self.reorder = Reorder()
        """Puts the packets in order, and counts those that were not."""
        self.damaged = 0
        """Packets that could not be decoded."""
        self._packet = av.Packet
        self._errors = av.FFmpegError
        self._decoder: Any = av.CodecContext.create("libopus", "r")
        self._decoder.format, self._decoder.layout, self._decoder.sample_rate = "s16", "mono", RATE
        self._origin: int | None = None  # the timestamp that is sample 0
        self._at = 0  # the sample that comes next
        self._filled = FILL  # samples of silence since the last sound: none before the first

    def packet(self, number: int, timestamp: int, data: bytes) -> Iterator[Audio]:
        """What can be heard now that this packet has come."""
        for stamp, payload in self.reorder.add(number, timestamp, data):
            yield from self._sound(stamp, payload)

    def quiet(self, ms: int) -> Iterator[Audio]:
        """Nothing has come for so long: what waited for something lost, and silence."""
        for stamp, payload in self.reorder.flush():
            yield from self._sound(stamp, payload)
        count = ms * RATE // 1000
        if self._filled + count <= FILL:
            self._filled += count
            yield self._made(np.zeros(count, np.int16))

    def _sound(self, timestamp: int, payload: bytes) -> Iterator[Audio]:
        try:
            frames = self._decoder.decode(self._packet(payload)) if payload else []
        except self._errors as error:
            self.damaged += 1
            log.debug("a packet of %d bytes that is no Opus: %s", len(payload), error)
            return
        if not frames:
            return
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        yield from self._gap(timestamp)
        self._filled = 0
        yield self._made(samples)
        self._origin = (timestamp + len(samples) - self._at) % WRAP

    def _gap(self, timestamp: int) -> Iterator[Audio]:
        """What lies between the sound so far and a packet of this time. A packet is never too late for its place."""
        if self._origin is None:
            return
        ahead = (timestamp - self._origin - self._at) % WRAP
        if ahead >= WRAP // 2:
            return  # silence was made up meanwhile: time has moved on
        if ahead <= FILL:
            if ahead:
                yield self._made(np.zeros(ahead, np.int16))
        else:
            self._at += ahead

    def _made(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Audio:
        audio = Audio(samples=samples, rate=RATE, pts=self._at * SECOND // RATE)
        self._at += len(samples)
        return audio
