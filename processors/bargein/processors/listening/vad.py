"""Detect when the user speaks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import numpy as np

from bargein.pipeline import Audio, AudioFormat, End, Processor, SpeechStarted, SpeechStopped
from bargein.pipeline.lowlevel import SECOND, Samples, check_not_negative, check_options, check_positive, ns, samples_in
from bargein.processors.frames import (
    Commit,
    PauseRequest,
    SpeechContinued,
    SpeechPaused,
    SpeechProbability,
    TurnControl,
)

from ._recent_sound import RecentSound
from .detectors import Detector, WebRtcVad

__all__ = ["Vad"]

CONTINUED_EVERY_MS = 50.0
"""Speech between two `SpeechContinued`, in milliseconds."""
SILENCE_PER_SPEECH = 3
"""One window of speech cancels this many windows of silence, so that words prolong speech and clicks do not."""


class Vad(Processor):
    """Detects the user's speech. Passes the audio, and sends `SpeechStarted`, `SpeechContinued` and `SpeechStopped`.

    `SpeechStarted` and `SpeechStopped` carry the time at which speech began or ended (`pts`), how long ago that was
    (`lag_ms`), and a common `item_id`. Between them `SpeechContinued` counts the speech without pauses: the windows
    that are speech, all of them, as soon as a pause begins. A `Commit` stops speech at once. If a `PauseRequest` from
    below asks for it, a `SpeechPaused` with the latest sound comes in each pause.

    Frames of any length are cut into the windows that the detector needs. A gap in `pts` counts as silence. Audio of
    a response is ignored, and so is all audio while a `TurnControl` from above is in force.

    Args:
        detector: The speech detector; a `WebRtcVad` by default.
        start_ms: Speech in milliseconds after which speech has started.
        stop_ms: Silence in milliseconds after which speech has stopped.
        threshold: Probability above which a window is speech, between 0 and 1. While the user speaks, 0.15 less.
        speech_only: Whether to drop the audio outside of speech. `SpeechStarted` then comes before its audio.
        preroll_ms: Audio in milliseconds that is kept before each start, with `speech_only`.
        report: Whether to send a `SpeechProbability` for every window.

    Raises:
        ValueError: An argument is out of its range; in the session, the detector cannot take the audio's format.
    """

    @check_options
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
        check_positive("Vad", start_ms=start_ms, stop_ms=stop_ms)
        check_not_negative("Vad", preroll_ms=preroll_ms)
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
        """Whether the user is speaking."""
        self._count = 0  # number of starts
        self._rate = self._window = 0
        self._latest = -1  # pts of the latest frame
        self._origin = 0  # pts of sample 0 of the current stretch
        self._end = self._judged_end = 0  # samples received, and samples judged
        self._unjudged: Samples = np.zeros(0, np.int16)  # received but not judged
        self._evidence = 0.0  # milliseconds of evidence against `speaking`
        self._turned = 0  # sample at which that evidence began
        self._speech_begin = 0  # sample at which speech began
        self._speech_ms = self._reported = 0.0  # speech so far, and at the latest SpeechContinued
        self._gate = _SpeechGate()
        self._external_control = False
        self._recent: RecentSound | None = None  # the latest sound, if somebody below asked for it
        self._pause_ms = math.inf
        self._paused = False  # whether this pause has been reported

    def process(
        self, frame: Audio | Commit | TurnControl | PauseRequest | End
    ) -> Iterator[
        Audio
        | SpeechStarted
        | SpeechContinued
        | SpeechPaused
        | SpeechStopped
        | SpeechProbability
        | Commit
        | TurnControl
    ]:
        """Yield the audio and what was detected in it."""
        if isinstance(frame, PauseRequest):
            self._pause_ms, self._recent = frame.ms, RecentSound(frame.audio_seconds)
            return
        if isinstance(frame, Commit):
            if self.speaking:  # the user says that the turn is over, so there is no silence to wait for
                yield from self._stop(self._judged_end)
            yield frame
            return
        if isinstance(frame, End | TurnControl):
            if self.speaking and (isinstance(frame, End) or frame.external):
                yield from self._stop(self._since)
            if isinstance(frame, TurnControl):
                self._external_control, self._rate = frame.external, 0  # the next audio starts a new stretch
                yield frame
            return
        if frame.response_id or self._external_control:
            yield frame
            return
        yield from self._check_continuity(frame)
        if self.speech_only:
            self._gate.keep(self._end, frame)
        else:
            yield frame
        mono = frame.samples.reshape(-1)
        if self._recent is not None:
            self._recent.add(self._end, mono, self._rate)
        self._end += len(mono)
        samples = np.concatenate([self._unjudged, mono]) if len(self._unjudged) else mono
        size, at = self._window, 0
        while at + size <= len(samples):
            yield from self._judge(samples[at : at + size])
            at += size
        self._unjudged = samples[at:].copy()
        if self.speech_only:
            if self.speaking:
                yield from self._gate.pass_to(self._end)
            self._gate.drop(self._since - self._samples(self.preroll_ms))

    # Positions -------------------------------------------------------------------------------------------

    @property
    def _since(self) -> int:
        """The sample at which the evidence against `speaking` began, or the next sample."""
        return self._turned if self._evidence else self._judged_end

    def _samples(self, ms: float) -> int:
        return round(ms * self._rate / 1000)

    def _pts(self, sample: int) -> int:
        return self._origin + ns(sample, self._rate)

    def _check_continuity(self, frame: Audio) -> Iterator[Audio | SpeechContinued | SpeechStopped]:
        """Check the format of a frame, and whether it continues the last one."""
        if frame.channels != 1 or frame.rate not in self.detector.rates:
            rates = " or ".join(str(rate) for rate in self.detector.rates)
            best = 16_000 if 16_000 in self.detector.rates else self.detector.rates[0]
            raise ValueError(
                f"Vad got {frame.rate} Hz with {frame.channels} channel(s), and its {type(self.detector).__name__} "
                f"needs mono at {rates} Hz; insert Resample({best}, channels=1) before it"
            )
        moved, self._latest = frame.pts != self._latest, frame.pts
        if self._rate:
            gap = frame.pts - self._pts(self._end)
            back = moved and gap < -SECOND  # the source has restarted; a constant `pts` cannot be used as a clock
            same = frame.rate == self._rate and not back
            if same and gap * self._rate <= self._window * SECOND:
                return
            if self.speaking and (not same or self._evidence + gap / 1e6 >= self.stop_ms):
                yield from self._stop(self._since)
            if same and gap / 1e6 < self.stop_ms:
                self._skip_gap(gap)
                return
            self.detector.reset()
        self._rate, self._window = frame.rate, self.detector.window(frame.rate)
        self._origin, self._end, self._judged_end = frame.pts, 0, 0
        self._unjudged, self._evidence = np.zeros(0, np.int16), 0.0
        self._gate = _SpeechGate()
        if self._recent is not None:
            self._recent.clear()

    def _skip_gap(self, gap: int) -> None:
        """Count a short gap as silence; the same speech may continue after it."""
        missing = samples_in(gap, self._rate)
        self._turned = self._since
        self._evidence = max(0.0, self._evidence + (gap / 1e6 if self.speaking else -gap / 1e6))
        self._end += missing
        self._judged_end = self._end
        self._unjudged = np.zeros(0, np.int16)

    # Decisions ---------------------------------------------------------------------------------------------------

    def _judge(
        self, samples: Samples
    ) -> Iterator[Audio | SpeechStarted | SpeechContinued | SpeechPaused | SpeechStopped | SpeechProbability]:
        probability = self.detector.probability(samples, self._rate)
        ms = 1000 * self._window / self._rate
        begin, self._judged_end = self._judged_end, self._judged_end + self._window
        speech = probability > self.threshold - 0.15 * self.speaking
        if speech != self.speaking:
            if not self._evidence:
                self._turned = begin
                self._speech_ms = self._speech_ms if self.speaking else 0.0
            if not self.speaking:  # scattered noise must not date the start far back
                self._turned = max(self._turned, begin - 2 * self._samples(self.start_ms))
            self._evidence += ms
            if not self.speaking:
                self._speech_ms += ms
        else:
            self._evidence = max(0.0, self._evidence - ms * (SILENCE_PER_SPEECH if self.speaking else 1))
        if speech and self.speaking:
            self._speech_ms += ms
        if self.speaking and self._speech_ms - self._reported >= (CONTINUED_EVERY_MS if speech else ms):
            yield self._continued()  # a pause reports the rest at once, so that no window of speech goes uncounted
        if self.speaking:
            yield from self._report_pause()
        if self._evidence >= (self.stop_ms if self.speaking else self.start_ms):
            yield from self._stop(self._turned) if self.speaking else self._start(self._turned)
        if self.report:
            yield SpeechProbability(pts=self._pts(begin), probability=probability, speaking=self.speaking, ms=ms)

    def _report_pause(self) -> Iterator[SpeechPaused]:
        """Report a pause once it is long enough, and again if there was speech in it."""
        long = self._evidence >= min(self._pause_ms, self.stop_ms)
        if long and not self._paused and self._recent is not None:
            audio = self._recent.until(self._judged_end, self._rate, self._origin)
            yield SpeechPaused(pts=self._pts(self._turned), item_id=self._item, audio=audio)
        self._paused = long

    def _start(self, at: int) -> Iterator[SpeechStarted | SpeechContinued]:
        self.speaking, self._evidence = True, 0.0
        self._count += 1
        self._speech_begin = at
        self._speech_ms = min(self._speech_ms, self._ms_since(at))  # what scattered noise counted before is left out
        yield SpeechStarted(pts=self._pts(at), item_id=self._item, lag_ms=self._ms_since(at))
        yield self._continued()
        self._gate.open(at - self._samples(self.preroll_ms))

    def _stop(self, at: int) -> Iterator[Audio | SpeechContinued | SpeechStopped]:
        self.speaking, self._evidence = False, 0.0
        yield from self._gate.pass_to(self._judged_end)
        if self._speech_ms > self._reported:
            yield self._continued()
        yield SpeechStopped(pts=self._pts(at), item_id=self._item, lag_ms=self._ms_since(at))

    def _continued(self) -> SpeechContinued:
        self._reported = self._speech_ms
        return SpeechContinued(pts=self._pts(self._speech_begin), ms=self._speech_ms, item_id=self._item)

    @property
    def _item(self) -> str:
        return f"speech-{self._count}"

    def _ms_since(self, sample: int) -> float:
        return max(0.0, 1000 * (self._judged_end - sample) / self._rate)


class _SpeechGate:
    """Holds audio back until it is known to be speech. Positions are samples of the current stretch."""

    def __init__(self) -> None:
        self.passed = 0  # everything before this sample has passed or is dropped
        self._waiting: deque[tuple[int, Audio]] = deque()

    def keep(self, at: int, frame: Audio) -> None:
        """Hold back a frame that begins at a position."""
        self._waiting.append((at, frame))

    def open(self, at: int) -> None:
        """Allow audio from a position on to pass."""
        self.passed = max(self.passed, at)

    def pass_to(self, end: int) -> Iterator[Audio]:
        """Yield held-back audio up to a position."""
        for at, frame in self._waiting:
            first, last = max(0, self.passed - at), min(len(frame.samples), end - at)
            if first < last:
                if (first, last) == (0, len(frame.samples)):
                    yield frame
                else:
                    yield Audio(
                        samples=frame.samples[first:last],
                        rate=frame.rate,
                        pts=frame.pts + ns(first, frame.rate),
                        epoch=frame.epoch,
                        item_id=frame.item_id,
                    )
        self.passed = max(self.passed, end)

    def drop(self, before: int) -> None:
        """Forget audio that has passed or is older than a position."""
        while self._waiting and self._waiting[0][0] + len(self._waiting[0][1].samples) <= max(before, self.passed):
            self._waiting.popleft()
