"""`VoiceSender`: the agent's sound as Opus packets of 20 ms, encoded when they are pulled. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from bargein.pipeline import Audio, Hold, Interrupt, Played, ResponseEnded, Resume
from bargein.pipeline.lowlevel import Samples, check_options, import_extra
from bargein.processors import Playout, Resample

__all__ = ["BITRATE", "COMPLEXITY", "PACKET_MS", "RATES", "SILENCE", "Encoder", "VoiceSender"]


PACKET_MS = 20
"""Length of a packet's sound."""
RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Rates in Hz that Opus encodes without resampling. The RTP clock counts 48,000 a second for all of them."""
BITRATE = 96_000
"""Bits a second. Opus chooses between two coders by the bit rate. SILK, the coder for low rates, takes two to five
times as much CPU as CELT, and at 32 kbit/s its sound is four times as far from the original."""
COMPLEXITY = 0
"""Opus's complexity, from 0 to 10. At this bit rate 10 costs twice as much CPU, for a spectrum that is 0.3 dB closer to
the original; see `benchmarks/opus.py`."""
SILENCE = b"\xf8\xff\xfe"
"""20 ms of silence, encoded as Opus."""
TAIL_PACKETS = 5
"""Packets of silence after a sound. Without them the listener's jitter buffer would not release the end of the sound,
or the decoder would extrapolate it."""
FULL_MS = 30_000
"""Sound in milliseconds that may wait before `VoiceSender.full` asks the source to pause."""


class Encoder:
    """Encodes mono sound of one rate as Opus, 20 ms a packet, without look-ahead (2.5 ms of delay, usually 6.5 ms).

    Args:
        rate: Rate in samples a second (Hz), one of `RATES`.
    """

    @check_options
    def __init__(self, rate: int) -> None:
        self._av = import_extra("av", "webrtc", "WebRTC")
        self.rate = rate
        """Rate in samples a second (Hz)."""
        codec: Any = self._av.CodecContext.create("libopus", "w")
        codec.bit_rate, codec.format, codec.layout, codec.sample_rate = BITRATE, "s16", "mono", rate
        codec.time_base = Fraction(1, rate)
        codec.options = {"application": "lowdelay", "compression_level": str(COMPLEXITY), "frame_duration": "20"}
        self._codec = codec
        self._at = 0

    def encode(self, samples: Samples) -> bytes:
        """Encode exactly 20 ms of sound as one packet.

        Args:
            samples: 20 ms of mono sound at the encoder's rate.
        """
        frame = self._av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self._at, Fraction(1, self.rate)
        self._at += len(samples)
        # 20 ms in are one packet out, because `frame_duration` is 20. PyAV returns it in a list.
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class VoiceSender:
    """Encodes the agent's sound when packets are pulled. Nothing is encoded while there is nothing to say.

    After a sound it sends five packets of silence, and then none. An interrupt takes effect in the next packet, which
    fades out; the packets after it are silence.
    """

    def __init__(self) -> None:
        self.playout = Playout(behind_ms=PACKET_MS)
        """The sound that waits. A packet counts as heard when the next one is sent."""
        self.stale: Callable[[Audio], bool] = lambda frame: False
        """Returns whether sound is stale. An interrupt may not have arrived here yet when a packet is pulled."""
        self._resample: Resample | None = None
        # A voice may change its rate between replies, and making an encoder costs more than a packet. `RATES` bounds
        # their number.
        self._encoders: dict[int, Encoder] = {}
        self._fade: Samples | None = None
        self._rate = 0  # of the latest packet
        self._tail = 0  # packets of silence that are still due

    @property
    def full(self) -> bool:
        """Whether the source of the sound should pause, because 30 s of sound wait."""
        return self.playout.waiting_ms > FULL_MS

    @property
    def silent(self) -> bool:
        """Whether there is nothing to send."""
        return not self._tail and self._fade is None and (self.playout.held or not self.playout.waiting)

    @property
    def done(self) -> bool:
        """Whether all sound has been played and reported."""
        return self.silent and not self.playout.waiting and not self.playout.unfinished

    def add(self, frame: Audio) -> None:
        """Add sound to be played.

        Args:
            frame: The agent's sound, in any format.
        """
        for piece in self._convert(frame):
            self.playout.add(piece)

    def close(self, frame: ResponseEnded | None = None) -> None:
        """Note that a response has no more sound; None means all responses.

        Args:
            frame: The end of the response. Default None.
        """
        if self._resample is not None and frame is not None:
            # The resampler still holds the last samples of the response.
            for piece in self._resample.process(frame):
                if isinstance(piece, Audio):
                    self.playout.add(piece)
        self.playout.close(None if frame is None else frame.response_id)

    def urgent(self, frame: Interrupt | Hold | Resume, now: float) -> Iterator[Played]:
        """Stop, hold or resume with the next packet. Yield how much was heard.

        Args:
            frame: The urgent frame.
            now: The present time in seconds.
        """
        if self._resample is not None and isinstance(frame, Interrupt):
            # Run for its effect only: the resampler drops the rest of the interrupted response.
            list(self._resample.process(frame))
        for each in self.playout.urgent(frame, now):
            if isinstance(each, Played):
                yield each
            else:
                # The fade begins the next packet. Sending it at once would break the pace of one packet every 20 ms.
                self._fade, self._rate = each.samples, each.rate

    def pull(self, now: float) -> bytes | None:
        """Return the next packet; None if there is nothing to send.

        Args:
            now: The present time in seconds.
        """
        # This is the last place before the network. An interrupt may not have arrived here yet, so stale sound is
        # dropped again.
        self.playout.forget(self.stale)
        samples = self._take_samples(now)
        if samples is None:
            if not self._tail:
                return None
            self._tail -= 1
            return SILENCE
        self._tail = TAIL_PACKETS
        encoder = self._encoders.get(self._rate)
        if encoder is None:
            encoder = self._encoders[self._rate] = Encoder(self._rate)
        return encoder.encode(samples)

    def _take_samples(self, now: float) -> Samples | None:
        """Return 20 ms of sound of one rate, padded with silence where the sound ends; None if there is none."""
        pieces: list[Samples] = []
        have = count = 0
        if self._fade is not None:
            pieces, self._fade = [self._fade], None
            have, count = len(pieces[0]), self._rate * PACKET_MS // 1000
        while have < count or not count:
            # A packet has one rate. If the next sound has another one, or there is none (rate 0), silence fills the
            # packet.
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

    def _convert(self, frame: Audio) -> Iterator[Audio]:
        if frame.rate in RATES and frame.channels == 1 and self._resample is None:
            yield frame
            return
        # Once there is a resampler, all sound goes through it, because it still holds the end of earlier sound.
        if self._resample is None:
            # The next higher rate keeps all frequencies of the sound.
            rate = min((rate for rate in RATES if rate >= frame.rate), default=RATES[-1])
            self._resample = Resample(rate, channels=1)
        for piece in self._resample.process(frame):
            if isinstance(piece, Audio):
                yield piece
