"""The agent's voice: what waits to be played, as an Opus packet for every 20 ms that somebody pulls. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from bargein.pipeline import Audio, Hold, Interrupt, Played, ResponseEnded, Resume
from bargein.pipeline.lowlevel import import_extra
from bargein.processors import Playout, Resample

__all__ = ["BITRATE", "COMPLEXITY", "PACKET_MS", "RATES", "SILENCE", "Encoder", "VoiceSender"]

Samples = npt.NDArray[np.int16]

PACKET_MS = 20
"""How much sound a packet holds."""
RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
"""The rates (Hz) that Opus codes without resampling. Whatever it is, the RTP clock counts 48,000 a second."""
BITRATE = 96_000
"""Bits a second. Opus chooses between two coders by the bits it has; SILK, the one for few, costs two to five times as
much as the other, and at 32 kbit/s is four times as far from the original."""
COMPLEXITY = 0
"""Of 0 to 10. At this rate 10 costs twice as much, for a spectrum that is 0.3 dB nearer; see `benchmarks/opus.py`."""
SILENCE = b"\xf8\xff\xfe"
"""20 ms of silence in Opus. It costs nothing to make."""
TAIL = 5
"""So many packets of silence end a sound: the listener's buffer would keep the last of it, or go on inventing more."""
FULL_MS = 30_000
"""More than that is not taken from who makes it."""


class Encoder:
    """Sound of one rate as Opus: mono, 20 ms a packet, without look-ahead (2.5 ms of delay, where 6.5 are usual)."""

    def __init__(self, rate: int) -> None:
        self._av = import_extra("av", "webrtc", "WebRTC")
        self.rate = rate
        """Samples a second (Hz), of `RATES`."""
        codec: Any = self._av.CodecContext.create("libopus", "w")
        codec.bit_rate, codec.format, codec.layout, codec.sample_rate = BITRATE, "s16", "mono", rate
        codec.time_base = Fraction(1, rate)
        codec.options = {"application": "lowdelay", "compression_level": str(COMPLEXITY), "frame_duration": "20"}
        self._codec = codec
        self._at = 0

    def encode(self, samples: Samples) -> bytes:
        """Exactly 20 ms of sound, as one packet."""
        frame = self._av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self._at, Fraction(1, self.rate)
        self._at += len(samples)
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class VoiceSender:
    """A `Playout` that is pulled by packets. Nothing is encoded while there is nothing to say.

    After a sound come five packets of silence that were encoded long ago, and then none. An interrupt is obeyed
    by the next packet: it holds the fade, and then silence.
    """

    def __init__(self) -> None:
        self.playout = Playout(behind_ms=PACKET_MS)
        """What waits. A packet is taken for heard while the next is sent."""
        self.stale: Callable[[Audio], bool] = lambda frame: False
        """What must not be played any more. An interrupt may be on its way here while the next packet is pulled."""
        self._resample: Resample | None = None
        self._encoders: dict[int, Encoder] = {}
        self._fade: Samples | None = None
        self._rate = 0  # of the latest packet
        self._tail = 0  # packets of silence that are due

    @property
    def full(self) -> bool:
        """No more should be taken for now."""
        return self.playout.waiting_ms > FULL_MS

    @property
    def silent(self) -> bool:
        """There is nothing to send."""
        return not self._tail and self._fade is None and (self.playout.held or not self.playout.waiting)

    @property
    def done(self) -> bool:
        """All has been played, and was reported."""
        return self.silent and not self.playout.waiting and not self.playout.unfinished

    def add(self, frame: Audio) -> None:
        """Sound to be played."""
        for piece in self._fitted(frame):
            self.playout.add(piece)

    def close(self, frame: ResponseEnded | None = None) -> None:
        """Nothing more comes of a response, or of any."""
        if self._resample is not None and frame is not None:
            for piece in self._resample.process(frame):
                if isinstance(piece, Audio):
                    self.playout.add(piece)
        self.playout.close(None if frame is None else frame.response_id)

    def urgent(self, frame: Interrupt | Hold | Resume, now: float) -> Iterator[Played]:
        """Stop, hold or go on, in the next packet; gives what was heard."""
        if self._resample is not None and isinstance(frame, Interrupt):
            list(self._resample.process(frame))
        for made in self.playout.urgent(frame, now):
            if isinstance(made, Played):
                yield made
            else:
                self._fade, self._rate = made.samples, made.rate

    def pull(self, now: float) -> bytes | None:
        """The next packet; None if there is nothing to send."""
        self.playout.forget(self.stale)
        samples = self._samples(now)
        if samples is None:
            if not self._tail:
                return None
            self._tail -= 1
            return SILENCE
        self._tail = TAIL
        encoder = self._encoders.get(self._rate)
        if encoder is None:
            encoder = self._encoders[self._rate] = Encoder(self._rate)
        return encoder.encode(samples)

    def _samples(self, now: float) -> Samples | None:
        """20 ms of sound, of one rate; the rest is silence when the sound ends."""
        pieces: list[Samples] = []
        have = count = 0
        if self._fade is not None:
            pieces, self._fade = [self._fade], None
            have, count = len(pieces[0]), self._rate * PACKET_MS // 1000
        while have < count or not count:
            if count and self.playout.rate != self._rate:
                break
            ms = PACKET_MS if not count else 1000 * (count - have) / self._rate
            piece = self.playout.release(now, ms)
            if piece is None:
                break
            self._rate, count = piece.rate, piece.rate * PACKET_MS // 1000
            pieces.append(piece.samples)
            have += len(piece.samples)
        if not pieces:
            return None
        if have < count:
            pieces.append(np.zeros(count - have, np.int16))
        return np.concatenate(pieces)[:count]

    def _fitted(self, frame: Audio) -> Iterator[Audio]:
        if frame.rate in RATES and frame.channels == 1 and self._resample is None:
            yield frame
            return
        if self._resample is None:
            rate = min((rate for rate in RATES if rate >= frame.rate), default=RATES[-1])
            self._resample = Resample(rate, channels=1)
        for piece in self._resample.process(frame):
            if isinstance(piece, Audio):
                yield piece
