"""How long the user waits for an answer, and the agent's silence for the user: measured where it is played."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import anyio
import numpy as np

from bargein.pipeline import (
    Audio,
    Delivery,
    Frame,
    Hold,
    Interrupt,
    Processor,
    Resume,
    SpeechStarted,
    SpeechStopped,
    UserText,
)

__all__ = ["BargeInLatency", "Latency", "TurnLatency"]


class TurnLatency(Frame, frozen=True, kw_only=True):
    """How long after the user's last word, spoken or typed, the first of the answer was heard."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    ms: float
    """Milliseconds from the end of speech to the first audible sound."""
    response_id: str = ""
    """The answer."""


class BargeInLatency(Frame, frozen=True, kw_only=True):
    """How long after the user began to speak the agent fell silent for it."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    ms: float
    """Milliseconds from the beginning of speech to silence."""
    interrupted: int = 0
    """The epoch that began."""


class Latency(Processor):
    """Measure turns and barge-ins. Stands behind the pacer, before whoever plays; all that it takes passes.

    It gives upstream a `TurnLatency` with the first audible sound (a sample of more than `threshold`) of an answer, so
    that an agent that sends silence does not look well, and a `BargeInLatency` with an interrupt that ends sound for
    speech: quality is news for those above, who may tell the peer, count it, or act on it.
    The times of speech are those of who noticed it, less the `lag_ms` that it took; who says no `lag_ms`, such as a
    provider that finds turns by itself, is measured from its news.

    Raises `ValueError` for a threshold that is not within 0 and 32767.
    """

    def __init__(self, *, threshold: int = 100) -> None:
        if not 0 <= threshold <= 32767:
            raise ValueError(f"Latency(threshold={threshold}): expected a sample's value, 0 to 32767")
        self.threshold = threshold
        self._asked: float | None = None  # when the user's last word ended
        self._spoke: float | None = None  # when the user began to speak over the agent
        self._held: float | None = None  # since when the agent is on hold
        self._cut: BargeInLatency | None = None  # an interrupt that no speech has explained yet: `ms` is when
        self._until = 0.0  # when the last sound that was given will have been heard
        self._would = 0.0  # and would have been, without that interrupt

    def asked(self) -> None:
        """The user has typed something. For who knows that otherwise: a brain keeps the `UserText` that it takes."""
        self._asked = anyio.current_time()

    def process(
        self, frame: SpeechStarted | SpeechStopped | UserText | Audio | Hold | Resume | Interrupt
    ) -> Iterator[SpeechStarted | SpeechStopped | UserText | Audio | TurnLatency | BargeInLatency]:
        """Give the frame on, and what is known with it."""
        now = anyio.current_time()
        if isinstance(frame, Audio):
            yield from self._sound(frame, now)
        elif isinstance(frame, Hold):
            self._held = now if self._held is None else self._held
        elif isinstance(frame, Resume):
            self._spoke = self._held = None
        elif isinstance(frame, Interrupt):
            yield from self._interrupted(frame, now)
        else:
            if isinstance(frame, SpeechStarted):
                yield from self._started(now - frame.lag_ms / 1000)
            else:
                self._asked = now - (frame.lag_ms / 1000 if isinstance(frame, SpeechStopped) else 0.0)
            yield frame

    def _sound(self, frame: Audio, now: float) -> Iterator[Audio | TurnLatency]:
        yield frame
        if not frame.response_id:
            return
        self._until = max(self._until, now) + frame.ms / 1000
        if self._asked is not None and np.any(np.abs(frame.samples.astype(np.int32)) > self.threshold):
            asked, self._asked = self._asked, None
            yield TurnLatency(ms=1000 * (now - asked), response_id=frame.response_id)

    def _started(self, began: float) -> Iterator[BargeInLatency]:
        """The user has begun to speak. What it caused is urgent, and may have come before the news of it."""
        self._asked, self._spoke, cut = None, None, self._cut
        self._cut = None
        if cut is not None and self._would > began and cut.ms >= 1000 * began:
            yield BargeInLatency(ms=cut.ms - 1000 * began, interrupted=cut.interrupted)
        elif self._until > began:
            self._spoke = began

    def _interrupted(self, frame: Interrupt, now: float) -> Iterator[BargeInLatency]:
        silent = now if self._held is None else self._held
        self._would, self._until = self._until, min(self._until, now)
        spoke, self._spoke, self._held = self._spoke, None, None
        self._cut = None
        if spoke is not None:
            yield BargeInLatency(ms=1000 * (silent - spoke), interrupted=frame.epoch)
        else:
            self._cut = BargeInLatency(ms=1000 * silent, interrupted=frame.epoch)
