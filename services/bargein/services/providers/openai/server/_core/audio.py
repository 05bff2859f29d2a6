"""Sound on its way through the server: the formats of the wire, the user's speech, the agent's voice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bargein.pipeline import Audio, Frame, ResponseEnded
from bargein.pipeline.lowlevel import ns
from bargein.processors import Resample, Vad
from bargein.services.media.g711 import Codec, codec

__all__ = ["MakeVad", "ReplyAudio", "UserAudio", "server_vad"]

MakeVad = Callable[[Mapping[str, Any]], Vad]
"""Makes the `Vad` for a session's `turn_detection` object."""

MAX_PIECE_MS = 100
"""Longest piece of sound that goes to the brain, so that starts and ends of speech stand between the right pieces."""
MAX_DELTA_MS = 500
"""Longest delta that goes to the client, so that an interruption does not wait behind one."""
STOP_MS = {"high": 300.0, "medium": 600.0, "auto": 600.0, "low": 1200.0}


def server_vad(turn: Mapping[str, Any]) -> Vad:
    """Return this project's `Vad`, set as a `turn_detection` object says.

    `semantic_vad` is a VAD whose pause at the end of speech depends on `eagerness`.

    Args:
        turn: The object, complete: with its `type`, and `threshold` and `silence_duration_ms`, or `eagerness`.
    """
    if turn["type"] == "semantic_vad":
        return Vad(stop_ms=STOP_MS[turn["eagerness"]])
    threshold = min(0.99, max(0.01, float(turn["threshold"])))
    return Vad(threshold=threshold, stop_ms=max(20.0, float(turn["silence_duration_ms"])))


class UserAudio:
    """The user's sound: turns bytes of the wire into frames for the brain, with starts and ends of speech between them.

    All `pts` count the sound of the session from its beginning.

    Args:
        rate: Sampling rate that the brain wants, in Hz; None for that of the wire.
        make_vad: Makes the detector of speech; None where the brain finds speech by itself.
    """

    def __init__(self, rate: int | None, make_vad: MakeVad | None) -> None:
        self._wanted = rate
        self._make_vad = make_vad
        self._codec = codec({"type": "audio/pcm"})
        self._turn: Mapping[str, Any] | None = None
        self._vad: Vad | None = None
        self._to_vad: Resample | None = None
        self._to_brain: Resample | None = None
        self._odd = b""
        self._start = 0  # where the present format began, in nanoseconds
        self._count = 0  # samples since

    @property
    def ms(self) -> float:
        """Length of all sound so far, in milliseconds."""
        return self._pts / 1e6

    @property
    def _pts(self) -> int:
        return self._start + ns(self._count, self._codec.rate)

    def configure(self, form: Codec, turn: Mapping[str, Any] | None) -> None:
        """Set the format and the turn detection (None for none). A detector restarts when its settings change."""
        if form is not self._codec:
            self._start, self._count, self._codec, self._odd = self._pts, 0, form, b""
            self._to_vad = self._to_brain = self._vad = None
        if turn != self._turn:
            self._turn, self._vad, self._to_vad = turn, None, None

    def take(self, data: bytes) -> Iterator[Frame]:
        """Return the sound as frames, each followed by starts and ends of speech that were found in it."""
        data = self._odd + data
        whole = len(data) - len(data) % self._codec.sample_bytes
        self._odd, data = data[whole:], data[:whole]
        rate, samples = self._codec.rate, self._codec.decode(data)
        for at in range(0, len(samples), step := rate * MAX_PIECE_MS // 1000):
            piece = Audio(samples=samples[at : at + step], rate=rate, pts=self._pts)
            self._count += len(piece.samples)
            yield from self._for_brain(piece)
            yield from self._detect(piece)

    def decode_item(self, data: bytes) -> Iterator[Frame]:
        """Return sound that came as a conversation item, and so is not part of the microphone's stream."""
        samples = self._codec.decode(data[: len(data) - len(data) % self._codec.sample_bytes])
        if len(samples):
            yield from self._for_brain(Audio(samples=samples, rate=self._codec.rate, pts=self._pts))

    def _for_brain(self, piece: Audio) -> Iterator[Frame]:
        if self._wanted in (None, piece.rate):
            yield piece
            return
        if self._to_brain is None:
            self._to_brain = Resample(self._wanted or piece.rate)
        yield from self._to_brain.process(piece)

    def _detect(self, piece: Audio) -> Iterator[Frame]:
        if self._turn is None or self._make_vad is None:
            return
        if self._vad is None:
            self._vad = self._make_vad(self._turn)
        rates = self._vad.detector.rates
        if piece.rate in rates:
            pieces: Iterator[Frame] = iter((piece,))
        else:
            if self._to_vad is None:
                self._to_vad = Resample(16_000 if 16_000 in rates else rates[0])
            pieces = self._to_vad.process(piece)
        for each in pieces:
            if isinstance(each, Audio):
                yield from (found for found in self._vad.process(each) if not isinstance(found, Audio))


class ReplyAudio:
    """The agent's sound: turns frames of the brain into deltas in the format of the response."""

    def __init__(self, form: Codec) -> None:
        self._codec = form
        self._resample: Resample | None = None

    def take(self, frame: Audio) -> Iterator[tuple[str, bytes]]:
        """Return deltas, each with the brain's id of the item that it belongs to."""
        if frame.rate == self._codec.rate and frame.channels == 1 and self._resample is None:
            yield from self._cut(frame)
            return
        if self._resample is None:
            self._resample = Resample(self._codec.rate, channels=1)
        for each in self._resample.process(frame):
            if isinstance(each, Audio):
                yield from self._cut(each)

    def flush(self) -> Iterator[tuple[str, bytes]]:
        """Return what the resampler has held back, when nothing more follows."""
        if self._resample is not None:
            for each in self._resample.process(ResponseEnded(response_id="")):
                if isinstance(each, Audio):
                    yield from self._cut(each)

    def _cut(self, frame: Audio) -> Iterator[tuple[str, bytes]]:
        step = self._codec.rate * MAX_DELTA_MS // 1000
        samples = frame.samples.reshape(-1)
        for at in range(0, len(samples), step):
            yield frame.item_id, self._codec.encode(np.ascontiguousarray(samples[at : at + step]))
