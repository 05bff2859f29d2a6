"""`Transcribe`: gives the sound of each utterance to a speech-to-text part, and sends the words."""

from __future__ import annotations

import math
from collections import deque
from contextlib import aclosing
from typing import Any

import anyio
import msgspec
import numpy as np

from bargein.pipeline import Audio, AudioFormat, Failure, Inbox, Outlet, SpeechStarted, SpeechStopped, Transcript
from bargein.pipeline.lowlevel import Samples, check_options, check_positive
from bargein.processors import Commit, TurnControl
from bargein.services.frames import ClearAudio, Say

from ._base import PartProcessor, check_part, failure_from
from ._utterance import Utterance
from .parts import SpeechToText

__all__ = ["Transcribe", "TranscriptionStatistics"]

PREROLL_NS = 300_000_000
"""Length of the sound before `SpeechStarted` that belongs to the utterance, in nanoseconds, because a detector notices
speech late."""
MAX_KEPT_MS = 60_000.0
"""Maximum length of the sound that is kept for a `Commit` while no `SpeechStarted` comes, in milliseconds."""
Taken = Audio | SpeechStarted | SpeechStopped | Commit | ClearAudio | TurnControl
Given = SpeechStarted | SpeechStopped | Commit | ClearAudio | TurnControl | Transcript | Say | Failure


class TranscriptionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The utterances that are being transcribed. Sound that waits means that the part is too slow."""

    utterances: int
    """Number of utterances that are in progress, or whose last words have not come yet."""
    waiting_ms: float
    """Sound of these utterances that the part has not taken yet, in milliseconds."""
    left_out_ms: float
    """Sound that was left out so far at the end of utterances that were too long, in milliseconds."""
    part: Any = None
    """The part's own statistics; None if it has none."""


class Transcribe(PartProcessor[SpeechToText]):
    """Turns the user's speech into text: a `Transcript` each time that the words change, and a final one at the end.

    Put it below a `Vad(speech_only=True)`: its `SpeechStarted` and `SpeechStopped` bound the utterances. The user's
    sound is not passed on. Each utterance is transcribed in its own task, so that the next one may begin before the
    last words have come. `ClearAudio` discards the open utterance.

    If the part raises, this sends a `Failure`, and the utterance ends with the words that are known.

    While a processor above decides whose turn it is (`TurnControl`), all sound comes here, and an utterance includes
    the last 300 ms before `SpeechStarted`. A `Commit` without any `SpeechStarted` turns the sound since the last
    `Commit` into an utterance, up to one minute.

    Args:
        stt: The speech-to-text part.
        no_speech_reply: Text that the agent says if an utterance fails and no word of it is known. Empty: nothing.
        finish_seconds: Maximum time between words once the sound is over, in seconds.
        max_utterance_seconds: Maximum length of an utterance, in seconds. The rest of a longer one is left out.

    Raises:
        TypeError: `stt` is not a speech-to-text part.
        ValueError: An option is out of range; or, in a session, the sound has another rate than the part takes.
    """

    name = "transcribe"

    @check_options
    def __init__(
        self,
        stt: SpeechToText,
        *,
        no_speech_reply: str = "",
        finish_seconds: float = 10.0,
        max_utterance_seconds: float = 120.0,
    ) -> None:
        check_positive("Transcribe", infinite=True, finish_seconds=finish_seconds)
        check_positive("Transcribe", max_utterance_seconds=max_utterance_seconds)
        self.part = check_part(stt, SpeechToText, "transcribe", "Transcribe(stt)")
        self.no_speech_reply = no_speech_reply
        self.finish_seconds = finish_seconds
        self.max_utterance_seconds = max_utterance_seconds
        self.audio_in = AudioFormat(stt.rate, 1)
        self._external_turns = False
        self._utterance: Utterance | None = None
        self._recent: deque[Audio] = deque()  # sound outside of utterances, while a processor above decides the turns
        self._recent_ms = 0.0
        self._heard_speech = False  # whether there was an utterance since the last Commit
        self._commits = 0
        self._working: list[Utterance] = []
        self._left_out = 0  # samples

    def statistics(self) -> TranscriptionStatistics:
        """Return what is being transcribed now."""
        return TranscriptionStatistics(
            utterances=len(self._working),
            waiting_ms=1000 * sum(utterance.waiting for utterance in self._working) / self.part.rate,
            left_out_ms=1000 * self._left_out / self.part.rate,
            part=super().statistics(),
        )

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Transcribe until the end, and until the last words are known."""
        async with anyio.create_task_group() as group:
            async for frame in inbox:
                if isinstance(frame, Audio):
                    if not frame.response_id:
                        self._on_audio(frame)
                    continue
                if isinstance(frame, Commit) and self._external_turns:
                    # Called before the commit is passed on, because processors below must know of the speech that it
                    # ends.
                    await self._commit(group, out)
                await out.send(frame)
                if isinstance(frame, SpeechStarted):
                    self._begin(frame.item_id, frame.pts - PREROLL_NS, group, out)
                elif isinstance(frame, SpeechStopped):
                    self._end()
                elif isinstance(frame, ClearAudio):
                    self._discard()
                elif isinstance(frame, TurnControl):
                    self._external_turns = frame.external
                    self._discard()
            self._end()

    def _on_audio(self, frame: Audio) -> None:
        samples = self._samples(frame)
        if self._utterance is not None:
            # The end is left out, because the beginning usually says what an utterance is about.
            self._left_out += 0 if self._utterance.add(samples) else len(samples)
        elif self._external_turns:
            self._recent.append(frame)
            self._recent_ms += frame.ms
            while self._recent_ms > MAX_KEPT_MS:
                self._recent_ms -= self._recent.popleft().ms

    def _begin(self, item_id: str, since: int, group: anyio.abc.TaskGroup, out: Outlet[Given]) -> None:
        """Begin an utterance, with the kept sound since a time (`pts`, in nanoseconds)."""
        self._end()
        max_samples = round(self.max_utterance_seconds * self.part.rate)
        utterance = self._utterance = Utterance(item_id, max_samples, self.finish_seconds)
        for frame in self._recent:
            if frame.pts + frame.duration > since:
                utterance.add(self._samples(frame))
        self._forget_recent()
        self._heard_speech = True
        # Each utterance has a task, because its last words may come after the next utterance has begun.
        group.start_soon(self._transcribe, utterance, out)

    def _end(self) -> None:
        """End the open utterance, if there is one."""
        if self._utterance is not None:
            self._utterance.end()
            self._utterance = None

    def _discard(self) -> None:
        """Discard the open utterance and the kept sound."""
        if self._utterance is not None:
            self._utterance.cancel()
        self._end()
        self._forget_recent()

    def _forget_recent(self) -> None:
        self._heard_speech = False
        self._recent.clear()
        self._recent_ms = 0.0

    async def _commit(self, group: anyio.abc.TaskGroup, out: Outlet[Given]) -> None:
        """End the user's turn. If no `SpeechStarted` came, all kept sound is its utterance."""
        if not self._heard_speech:
            self._commits += 1
            first = self._recent[0].pts if self._recent else 0
            await out.send(SpeechStarted(item_id=f"commit-{self._commits}", pts=first))
            self._begin(f"commit-{self._commits}", first, group, out)
        utterance = self._utterance
        self._end()
        self._forget_recent()
        if utterance is not None:
            await out.send(SpeechStopped(item_id=utterance.item_id))

    def _samples(self, frame: Audio) -> Samples:
        if frame.rate != self.part.rate or frame.channels != 1:
            raise ValueError(
                f"{type(self.part).__name__} got {frame.rate} Hz with {frame.channels} channel(s), and takes "
                f"{self.part.rate} Hz mono; insert Resample({self.part.rate}, channels=1) before it"
            )
        return np.asarray(frame.samples.reshape(-1))

    async def _transcribe(self, utterance: Utterance, out: Outlet[Given]) -> None:
        words = apology = ""
        item_id, language = utterance.item_id, self.part.language
        self._working.append(utterance)
        try:
            with utterance.scope:
                if not utterance.empty:
                    async with aclosing(self.part.transcribe(utterance)) as texts:  # type: ignore[type-var]
                        async for text in texts:
                            # The limit does not apply to waiting for room in the processors below.
                            utterance.scope.deadline = math.inf
                            # Some recognisers repeat a partial text. An unchanged `Transcript` would wake other
                            # processors for nothing.
                            if text != words:
                                words = text
                                await out.send(Transcript(text=words, item_id=item_id, language=language))
                            utterance.restart_deadline()
            if utterance.scope.cancelled_caught and not utterance.cancelled:
                raise TimeoutError(f"no final words within {self.finish_seconds:g} s")
        except Exception as error:
            await out.send(failure_from(self.part, error))
            # With external turns, a Commit turns the utterance into a turn, which is answered.
            apology = "" if words or self._external_turns else self.no_speech_reply
        finally:
            self._working.remove(utterance)
        # Discarded sound has no words, but other processors wait for the final transcript of its item.
        if utterance.cancelled:
            words = ""
        await out.send(Transcript(text=words, item_id=item_id, final=True, language=language))
        # Sent after the transcript, because a failover must know that nothing was understood before the agent says so.
        if apology:
            await out.send(Say(text=apology))
