"""How long the silence after the user's words must last: asks the turn detectors, and holds what they answer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from bargein.pipeline import Audio, Failure
from bargein.pipeline.lowlevel import ns, samples_in, stood_still

from .turn_detectors import TurnDetector, TurnEvidence, decide_silence

__all__ = ["PAUSE_MS", "TurnSilence", "trim"]

PAUSE_MS = 200.0
"""Silence after which detectors that hear are asked. Smart Turn was measured with this much. A turn ends after 500 ms,
so there is time to think."""
BEFORE_TURN_MS = 500
"""Sound before the turn, in milliseconds, that belongs to its sound: speech is noticed late."""
MAX_PAUSE_MS = 1500.0
"""Speech that begins up to this long after the end of a turn goes on with it: the turn was ended in a pause."""
STUCK_SECONDS = 0.05
"""A question is over this long after its bound, in seconds, even if the detector swallows its cancellation."""
MAX_FAILURES = 3
"""A detector that is late or fails this many times in a row is not asked again in the session."""


class TurnSilence:
    """Asks the detectors of a `Turns`, each in its own task.

    Args:
        detectors: The detectors.
        plain_ms: Silence in milliseconds where no detector has an opinion.
        detector_ms: Maximum time in milliseconds between a question and its answer.
    """

    def __init__(self, detectors: Sequence[TurnDetector], plain_ms: float, detector_ms: float) -> None:
        self.detectors = tuple(detectors)
        self.plain_ms = plain_ms
        self.detector_ms = detector_ms
        self.audio_seconds = max((each.audio_seconds for each in detectors), default=0.0)
        self._answers: dict[int, float | None] = {}
        self._asked: dict[int, tuple[anyio.CancelScope, float]] = {}  # open questions, each with its latest end
        self._failures = [0] * len(self.detectors)  # in a row
        self._reported: set[int] = set()
        self._pauses: deque[float] = deque(maxlen=8)

    @property
    def ms(self) -> float:
        """The silence in milliseconds that ends the turn, as far as is known."""
        return decide_silence(self.plain_ms, tuple(self._answers.values()))

    @property
    def pending_until(self) -> float:
        """The time at which the last open question will be over; minus infinity if there is none."""
        return max((until + STUCK_SECONDS for _, until in self._asked.values()), default=-math.inf)

    def forget(self) -> None:
        """Drop answers and open questions: the user speaks, or the turn has ended."""
        self._answers.clear()
        for scope, _ in self._asked.values():
            scope.cancel()
        self._asked.clear()

    # Pauses ------------------------------------------------------------------------------------------------------

    def add_turn(self, longest_pause_ms: float) -> None:
        """Learn the longest pause of a turn that silence has ended."""
        self._pauses.append(longest_pause_ms)

    def add_late_pause(self, pause_ms: float) -> None:
        """Learn the silence between the end of the latest turn and more speech."""
        if self._pauses and 0 < pause_ms <= MAX_PAUSE_MS:
            self._pauses[-1] = max(self._pauses[-1], pause_ms)

    # Questions ---------------------------------------------------------------------------------------------------

    def ask(
        self,
        group: TaskGroup,
        text: str,
        audio: Audio | None,
        changed: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """Ask the detectors that need sound, or those that need none.

        Args:
            group: The tasks of the processor.
            text: The words so far.
            audio: The sound so far; None to ask the detectors that need none.
            changed: Called when an answer has come, or will not come.
            failed: Called with the first failure of each detector.
        """
        for at, detector in enumerate(self.detectors):
            if bool(detector.audio_seconds) != (audio is not None) or self._failures[at] >= MAX_FAILURES:
                continue
            if at in self._asked:
                self._asked.pop(at)[0].cancel()
            self._answers.pop(at, None)
            evidence = TurnEvidence(
                text=text,
                audio=None if audio is None else _latest(audio, detector.audio_seconds),
                pauses_ms=tuple(self._pauses),
            )
            scope, until = anyio.CancelScope(), anyio.current_time() + self.detector_ms / 1000
            self._asked[at] = scope, until
            group.start_soon(self._wait_for, at, evidence, scope, until, changed, failed)

    async def _wait_for(
        self,
        at: int,
        evidence: TurnEvidence,
        scope: anyio.CancelScope,
        until: float,
        changed: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        problem: Exception | None = None
        answer: float | None = None
        answered = False
        with scope:
            try:
                with anyio.fail_after(until - anyio.current_time()) as bound:
                    answer = await self.detectors[at].silence_ms(evidence)
                    if bound.cancel_called:  # the detector has swallowed its cancellation
                        raise TimeoutError
                    if answer is not None and not 0 <= answer < math.inf:
                        raise ValueError(f"answered {answer}; expected milliseconds, 0 or more, or None")
                answered = True
            except TimeoutError as error:
                # A loop that stood still is not the detector's fault.
                problem = None if stood_still(until) else error
            except Exception as error:
                problem = error
        if at not in self._asked or self._asked[at][0] is not scope:
            return  # nobody waits for this answer any more
        del self._asked[at]
        if answered:
            self._answers[at], self._failures[at] = answer, 0
        elif problem is not None:
            self._failures[at] += 1
            if at not in self._reported:
                self._reported.add(at)
                failed(self._failure(at, problem))
        changed()

    def _failure(self, at: int, problem: Exception) -> Failure:
        name = type(self.detectors[at]).__name__
        late = isinstance(problem, TimeoutError)
        said = f"no answer within {self.detector_ms:g} ms" if late else str(problem) or type(problem).__name__
        return Failure(f"{name}: {said}; the plain silence of {self.plain_ms:g} ms ends the turn", name, problem)


def trim(audio: Audio, turn_pts: int) -> Audio:
    """Return the part of a sound that belongs to a turn.

    Args:
        audio: The sound.
        turn_pts: Media time at which the turn began, in nanoseconds.
    """
    first = samples_in(max(0, turn_pts - BEFORE_TURN_MS * 1_000_000 - audio.pts), audio.rate)
    return _from(audio, first)


def _latest(audio: Audio, seconds: float) -> Audio:
    return _from(audio, len(audio.samples) - round(seconds * audio.rate))


def _from(audio: Audio, first: int) -> Audio:
    if first <= 0:
        return audio
    return Audio(audio.samples[first:], audio.rate, pts=audio.pts + ns(first, audio.rate))
