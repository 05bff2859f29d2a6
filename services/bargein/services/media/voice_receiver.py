"""`VoiceReceiver`: Opus packets in, one unbroken stream of sound out. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from bargein.pipeline import Audio
from bargein.pipeline.lowlevel import import_extra, ns

from .jitter_buffer import Reorder

__all__ = ["RATE", "VoiceReceiver"]

log = logging.getLogger("bargein.webrtc")

RATE = 48_000
"""Rate of Opus, and of its RTP clock, in samples a second (Hz)."""
WRAP = 1 << 32
MAX_FILL = 2 * RATE
"""Longest gap, in samples, that is filled with silence. A longer one is a gap in `pts`."""


class VoiceReceiver:
    """Turns the Opus packets of one peer into `Audio` of 48 kHz, mono, with `pts` counted from samples.

    Lost packets become silence of the same length. Some senders send nothing while nobody speaks (a muted microphone,
    discontinuous transmission). Then up to two seconds of silence are inserted, so that turn detection hears the end of
    speech.
    """

    def __init__(self) -> None:
        av = import_extra("av", "webrtc", "WebRTC")
        self.reorder = Reorder()
        """Puts the packets in order, and counts lost and late ones."""
        self.damaged = 0
        """Packets that could not be decoded."""
        self._packet = av.Packet
        self._errors = av.FFmpegError
        self._decoder: Any = av.CodecContext.create("libopus", "r")
        self._decoder.format, self._decoder.layout, self._decoder.sample_rate = "s16", "mono", RATE
        self._origin: int | None = None  # the RTP timestamp of sample 0
        self._at = 0  # the number of the next sample
        self._filled = MAX_FILL  # samples of silence since the last sound; none is inserted before the first sound

    def packet(self, number: int, timestamp: int, data: bytes) -> Iterator[Audio]:
        """Take a packet, and yield the sound that can be played now.

        Args:
            number: The packet's sequence number (16 bits).
            timestamp: Its RTP timestamp (32 bits).
            data: Its payload.
        """
        for stamp, payload in self.reorder.add(number, timestamp, data):
            yield from self._decode(stamp, payload)

    def quiet(self, ms: int) -> Iterator[Audio]:
        """Yield the sound that still waits, and then silence, because no packet has come for a time.

        Args:
            ms: Time without a packet, in milliseconds.
        """
        for stamp, payload in self.reorder.flush():
            yield from self._decode(stamp, payload)
        # After MAX_FILL no more silence is inserted. Turn detection has noticed the end of speech by then, and a muted
        # microphone costs nothing.
        count = ms * RATE // 1000
        if self._filled + count <= MAX_FILL:
            self._filled += count
            yield self._audio(np.zeros(count, np.int16))

    def _decode(self, timestamp: int, payload: bytes) -> Iterator[Audio]:
        # A packet without a payload is padding. It carries no sound.
        try:
            frames = self._decoder.decode(self._packet(payload)) if payload else []
        except self._errors as error:
            self.damaged += 1
            log.debug("a packet of %d bytes is not Opus: %s", len(payload), error)
            return
        if not frames:
            return
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        # Only a packet that could be decoded fills the gap before it. A damaged one becomes part of the next gap.
        yield from self._fill_gap(timestamp)
        self._filled = 0
        yield self._audio(samples)
        # The origin is set anew at each packet. If silence was inserted while this packet was on its way, the sound
        # from here on is later by that amount, and `pts` still only grows.
        self._origin = (timestamp + len(samples) - self._at) % WRAP

    def _fill_gap(self, timestamp: int) -> Iterator[Audio]:
        """Yield silence for the time between the sound so far and a packet."""
        if self._origin is None:
            return
        ahead = (timestamp - self._origin - self._at) % WRAP
        if ahead >= WRAP // 2:
            return  # silence was inserted in its place in the meantime
        if ahead <= MAX_FILL:
            if ahead:
                yield self._audio(np.zeros(ahead, np.int16))
        else:
            self._at += ahead

    def _audio(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Audio:
        audio = Audio(samples=samples, rate=RATE, pts=ns(self._at, RATE))
        self._at += len(samples)
        return audio
