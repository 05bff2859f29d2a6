"""Hearing when the user speaks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from bargein.pipeline import Audio, AudioFormat, Delivery, End, Frame, Processor, SpeechStarted, SpeechStopped
from bargein.pipeline.frames import ItemFrame

from .detectors import Detector, Samples, WebRtcVad
from .turn_taking import TurnControl

__all__ = ["SpeechContinued", "SpeechProbability", "Vad"]

SECOND = 1_000_000_000
STEP_MS = 50.0
TAKES_BACK = 3
"""A window of speech takes back so many of silence: a click in a pause does not prolong it, a word does."""


class SpeechContinued(ItemFrame, frozen=True):
    """The user goes on speaking. Comes with `SpeechStarted`, and after every 50 ms of speech.

    `pts` is when the speech began.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    ms: float
    """How much speech there has been, in milliseconds, without the pauses: a cough is short, however late its end."""


class SpeechProbability(Frame, frozen=True, kw_only=True):
    """How likely a window of the user's sound is speech. `pts` is where the window begins."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    probability: float
    """0 to 1."""
    speaking: bool
    """What the VAD makes of it and of what came before."""
    ms: float
    """How long the window is, in milliseconds."""


class Vad(Processor):
    """Pass the user's sound, and say when speech starts, goes on and stops.

    Speech has started when `start_ms` milliseconds of it have come, and stopped when `stop_ms` of silence have;
    `SpeechStarted` and `SpeechStopped` carry the time at which that began (`pts`), how long ago it was (`lag_ms`), and
    the same `item`. Between them `SpeechContinued` counts the speech without its pauses. Frames of any size are cut
    into the windows that the detector needs, and a gap in `pts` counts as silence. A window is speech above
    `threshold`, and while somebody speaks above `threshold - 0.15`.

    With `speech_only` the sound outside speech is left out, but for `preroll_ms` before each start, so that no first
    syllable is lost; then `SpeechStarted` comes before its sound. With `report` a `SpeechProbability` follows for every
    window. Sound of a response passes unheard, and all sound while somebody above takes the turns (`TurnControl`).

    Raises `ValueError` for durations that are not positive and for sound that the detector cannot take.
    """

    def __init__(
        self,
        detector: Detector | None = None,
        *,
        start_ms: float = 100.0,
        stop_ms: float = 500.0,
        threshold: float = 0.5,
        speech_only: bool = False,
        preroll_ms: float = 300.0,
        report: bool = False,
    ) -> None:
        for name, value in {"start_ms": start_ms, "stop_ms": stop_ms}.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"Vad({name}={value}): expected a positive number of milliseconds")
        if not (math.isfinite(preroll_ms) and preroll_ms >= 0):
            raise ValueError(f"Vad(preroll_ms={preroll_ms}): expected milliseconds, 0 or more")
        if not 0 < threshold < 1:
            raise ValueError(f"Vad(threshold={threshold}): expected a probability between 0 and 1")
        self.detector = WebRtcVad() if detector is None else detector
        self.start_ms = start_ms
        self.stop_ms = stop_ms
        self.threshold = threshold
        self.speech_only = speech_only
        self.preroll_ms = preroll_ms
        self.report = report
        self.audio_in = AudioFormat(self.detector.rates, 1)
        self.speaking = False
        """Whether the user is speaking, as far as it is known."""
        self._count = 0  # how many times speech has started
        self._rate = self._window = 0
        self._latest = -1  # the pts of the last frame
        self._origin = 0  # the pts of sample 0 of the present stretch
        self._end = self._done = 0  # samples that came, and that were judged
        self._rest: Samples = np.zeros(0, np.int16)  # those between
        self._evidence = 0.0  # milliseconds that speak against `speaking`
        self._turned = 0  # the sample at which that began
        self._begin = 0  # where speech began
        self._speech = self._told = 0.0  # milliseconds of it since, and at the latest SpeechContinued
        self._gate = _Gate()
        self._above = False

    def process(
        self, frame: Audio | TurnControl | End
    ) -> Iterator[Audio | SpeechStarted | SpeechContinued | SpeechStopped | SpeechProbability | TurnControl]:
        """Give the sound on, and what was heard in it."""
        if isinstance(frame, End | TurnControl):
            if self.speaking and (isinstance(frame, End) or frame.external):
                yield from self._stop(self._since)
            if isinstance(frame, TurnControl):
                self._above, self._rate = frame.external, 0  # what is heard next is a new stretch
                yield frame
            return
        if frame.response_id or self._above:
            yield frame
            return
        yield from self._follow(frame)
        if self.speech_only:
            self._gate.keep(self._end, frame)
        else:
            yield frame
        self._end += len(frame.samples)
        mono = frame.samples.reshape(-1)
        samples = np.concatenate([self._rest, mono]) if len(self._rest) else mono
        size, at = self._window, 0
        while at + size <= len(samples):
            yield from self._judge(samples[at : at + size])
            at += size
        self._rest = samples[at:].copy()
        if self.speech_only:
            if self.speaking:
                yield from self._gate.pass_to(self._end)
            self._gate.drop(self._since - self._samples(self.preroll_ms))

    # Where the sound is -------------------------------------------------------------------------------------------

    @property
    def _since(self) -> int:
        """The sample since which something speaks against `speaking`; the next one, if nothing does."""
        return self._turned if self._evidence else self._done

    def _samples(self, ms: float) -> int:
        return round(ms * self._rate / 1000)

    def _pts(self, sample: int) -> int:
        return self._origin + sample * SECOND // self._rate

    def _follow(self, frame: Audio) -> Iterator[Audio | SpeechStopped]:
        """See that the frame can be heard, and whether it follows the last one."""
        if frame.channels != 1 or frame.rate not in self.detector.rates:
            rates = " or ".join(str(rate) for rate in self.detector.rates)
            best = 16_000 if 16_000 in self.detector.rates else self.detector.rates[0]
            raise ValueError(
                f"Vad got {frame.rate} Hz with {frame.channels} channel(s), and its {type(self.detector).__name__} "
                f"hears mono at {rates} Hz; insert Resample({best}, channels=1) before it"
            )
        moved, self._latest = frame.pts != self._latest, frame.pts
        if self._rate:
            gap = frame.pts - self._pts(self._end)
            back = moved and gap < -SECOND  # the source has begun anew; a `pts` that does not move says nothing
            same = frame.rate == self._rate and not back
            if same and gap * self._rate <= self._window * SECOND:
                return
            if self.speaking and (not same or self._evidence + gap / 1e6 >= self.stop_ms):
                yield from self._stop(self._since)
            if same and gap / 1e6 < self.stop_ms:
                self._skip(gap)
                return
            self.detector.reset()
        self._rate, self._window = frame.rate, self.detector.window(frame.rate)
        self._origin, self._end, self._done = frame.pts, 0, 0
        self._rest, self._evidence = np.zeros(0, np.int16), 0.0
        self._gate = _Gate()

    def _skip(self, gap: int) -> None:
        """A short gap: the same speech may go on behind it."""
        missing = gap * self._rate // SECOND
        self._turned = self._since
        self._evidence = max(0.0, self._evidence + (gap / 1e6 if self.speaking else -gap / 1e6))
        self._end += missing
        self._done = self._end
        self._rest = np.zeros(0, np.int16)

    # What it is ---------------------------------------------------------------------------------------------------

    def _judge(
        self, samples: Samples
    ) -> Iterator[Audio | SpeechStarted | SpeechContinued | SpeechStopped | SpeechProbability]:
        probability = self.detector.probability(samples, self._rate)
        ms = 1000 * self._window / self._rate
        begin, self._done = self._done, self._done + self._window
        speech = probability > self.threshold - 0.15 * self.speaking
        if speech != self.speaking:
            if not self._evidence:
                self._turned = begin
            if not self.speaking:  # noise that now and then sounds like speech does not make a long beginning
                self._turned = max(self._turned, begin - 2 * self._samples(self.start_ms))
            self._evidence += ms
        else:
            self._evidence = max(0.0, self._evidence - ms * (TAKES_BACK if self.speaking else 1))
        if speech and self.speaking:
            self._speech += ms
            if self._speech >= self._told + STEP_MS:
                yield self._continued()
        if self._evidence >= (self.stop_ms if self.speaking else self.start_ms):
            yield from self._stop(self._turned) if self.speaking else self._start(self._turned)
        if self.report:
            yield SpeechProbability(pts=self._pts(begin), probability=probability, speaking=self.speaking, ms=ms)

    def _start(self, at: int) -> Iterator[SpeechStarted | SpeechContinued]:
        self.speaking, self._evidence = True, 0.0
        self._count += 1
        self._begin, self._speech = at, self.start_ms
        yield SpeechStarted(pts=self._pts(at), item_id=self._item, lag_ms=self._ago(at))
        yield self._continued()
        self._gate.open(at - self._samples(self.preroll_ms))

    def _stop(self, at: int) -> Iterator[Audio | SpeechStopped]:
        self.speaking, self._evidence = False, 0.0
        yield from self._gate.pass_to(self._done)
        yield SpeechStopped(pts=self._pts(at), item_id=self._item, lag_ms=self._ago(at))

    def _continued(self) -> SpeechContinued:
        self._told = self._speech
        return SpeechContinued(pts=self._pts(self._begin), ms=self._speech, item_id=self._item)

    @property
    def _item(self) -> str:
        return f"speech-{self._count}"

    def _ago(self, sample: int) -> float:
        return max(0.0, 1000 * (self._done - sample) / self._rate)


class _Gate:
    """Sound that waits until it is known to be speech. Counts samples from the beginning of the stretch."""

    def __init__(self) -> None:
        self.passed = 0  # nothing before this sample passes any more
        self._kept: deque[tuple[int, Audio]] = deque()

    def keep(self, at: int, frame: Audio) -> None:
        """Take a frame that begins at a sample."""
        self._kept.append((at, frame))

    def open(self, at: int) -> None:
        """Let what is kept pass from a sample on, as far as it has not."""
        self.passed = max(self.passed, at)

    def pass_to(self, end: int) -> Iterator[Audio]:
        """Give what is kept up to a sample."""
        for at, frame in self._kept:
            first, last = max(0, self.passed - at), min(len(frame.samples), end - at)
            if first < last:
                if (first, last) == (0, len(frame.samples)):
                    yield frame
                else:
                    yield Audio(
                        samples=frame.samples[first:last],
                        rate=frame.rate,
                        pts=frame.pts + first * SECOND // frame.rate,
                        epoch=frame.epoch,
                        item_id=frame.item_id,
                    )
        self.passed = max(self.passed, end)

    def drop(self, before: int) -> None:
        """Forget what has passed, and what is older than the pre-roll."""
        while self._kept and self._kept[0][0] + len(self._kept[0][1].samples) <= max(before, self.passed):
            self._kept.popleft()
