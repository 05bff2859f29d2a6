"""Measure how long answers and interruptions take, at the place where audio is played."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import numpy as np

from bargein.pipeline import (
    Audio,
    Hold,
    Interrupt,
    Processor,
    Resume,
    SpeechStarted,
    SpeechStopped,
    UserText,
)
from bargein.pipeline.lowlevel import check_options
from bargein.processors.frames import BargeInLatency, TurnLatency

__all__ = [
    "Latency",
]


class Latency(Processor):
    """Measures turns and barge-ins, and reports them upstream. All other frames pass.

    Place it behind the pacer, directly before playback. It sends a `TurnLatency` with the first audible sound of an
    answer, and a `BargeInLatency` when an interrupt ends the agent's sound because the user speaks. Silence does not
    count as an answer.

    Speech is dated back by its `lag_ms`. Providers that detect speech themselves do not send one, so their times
    include the detection.

    Args:
        threshold: Amplitude of a sample above which sound is audible, 0 to 32767.

    Raises:
        ValueError: `threshold` is out of its range.
    """

    @check_options
    def __init__(self, *, threshold: int = 100) -> None:
        if not 0 <= threshold <= 32767:
            raise ValueError(f"Latency(threshold={threshold}): expected a sample value from 0 to 32767")
        self.threshold = threshold
        self._question_at: float | None = None  # end of the user's last word
        self._spoke_at: float | None = None  # time at which the user began to speak over the agent
        self._held_at: float | None = None  # time since which the agent is on hold
        self._cut: BargeInLatency | None = None  # an interrupt before its speech event; `ms` is its time
        self._heard_until = 0.0  # time at which all audio so far has been heard
        self._uninterrupted_until = 0.0  # the same without that interrupt

    def note_question(self) -> None:
        """Note that the user typed something. A brain above consumes `UserText`, so it may not arrive here."""
        self._question_at = anyio.current_time()

    def process(
        self, frame: SpeechStarted | SpeechStopped | UserText | Audio | Hold | Resume | Interrupt
    ) -> Iterator[SpeechStarted | SpeechStopped | UserText | Audio | TurnLatency | BargeInLatency]:
        """Yield the frame and the measurements that it completes."""
        now = anyio.current_time()
        if isinstance(frame, Audio):
            yield from self._on_audio(frame, now)
        elif isinstance(frame, Hold):
            self._held_at = now if self._held_at is None else self._held_at
        elif isinstance(frame, Resume):
            self._spoke_at = self._held_at = None
        elif isinstance(frame, Interrupt):
            yield from self._on_interrupt(frame, now)
        else:
            if isinstance(frame, SpeechStarted):
                yield from self._on_speech_started(now - frame.lag_ms / 1000)
            else:
                self._question_at = now - (frame.lag_ms / 1000 if isinstance(frame, SpeechStopped) else 0.0)
            yield frame

    def _on_audio(self, frame: Audio, now: float) -> Iterator[Audio | TurnLatency]:
        yield frame
        if not frame.response_id:
            return
        self._heard_until = max(self._heard_until, now) + frame.ms / 1000
        if self._question_at is not None and np.any(np.abs(frame.samples.astype(np.int32)) > self.threshold):
            asked, self._question_at = self._question_at, None
            yield TurnLatency(ms=1000 * (now - asked), response_id=frame.response_id)

    def _on_speech_started(self, began: float) -> Iterator[BargeInLatency]:
        """Handle the start of speech. Its interrupt is urgent and may have arrived earlier."""
        self._question_at, self._spoke_at, cut = None, None, self._cut
        self._cut = None
        if cut is not None and self._uninterrupted_until > began and cut.ms >= 1000 * began:
            yield BargeInLatency(ms=cut.ms - 1000 * began, interrupted=cut.interrupted)
        elif self._heard_until > began:
            self._spoke_at = began

    def _on_interrupt(self, frame: Interrupt, now: float) -> Iterator[BargeInLatency]:
        silent = now if self._held_at is None else self._held_at
        self._uninterrupted_until, self._heard_until = self._heard_until, min(self._heard_until, now)
        spoke, self._spoke_at, self._held_at = self._spoke_at, None, None
        self._cut = None
        if spoke is not None:
            yield BargeInLatency(ms=1000 * (silent - spoke), interrupted=frame.epoch)
        else:
            self._cut = BargeInLatency(ms=1000 * silent, interrupted=frame.epoch)
