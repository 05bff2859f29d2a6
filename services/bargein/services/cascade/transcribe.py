"""Hearing: the sound of each utterance to a speech-to-text part, its words out by item."""

from __future__ import annotations

import math
from collections import deque
from contextlib import aclosing
from typing import Any

import anyio
import msgspec
import numpy as np

from bargein.pipeline import Audio, AudioFormat, Failure, Inbox, Outlet, SpeechStarted, SpeechStopped, Transcript
from bargein.processors import Commit, TurnControl
from bargein.services.frames import ClearAudio, Say

from ._base import Holds, checked, failure_of, positive
from .parts import Samples, SpeechToText

__all__ = ["Transcribe", "TranscriptionStatistics"]

PREROLL = 300_000_000
"""So many nanoseconds before its start an utterance is heard, where it has been kept."""
KEPT_MS = 60_000.0
"""So much sound is kept in which nobody has said when speech starts."""
Taken = Audio | SpeechStarted | SpeechStopped | Commit | ClearAudio | TurnControl
Given = SpeechStarted | SpeechStopped | Commit | ClearAudio | TurnControl | Transcript | Say | Failure


class TranscriptionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What is being heard. Sound that waits says that the part cannot follow."""

    utterances: int
    """Utterances that are being heard, or whose last words are waited for, now."""
    waiting_ms: float
    """Their sound that the part has not taken yet."""
    left_out_ms: float
    """Sound left out, so far, at the end of utterances that were too long."""
    part: Any = None
    """What the part counts itself, if it does."""


class _Utterance:
    """The sound of one utterance, on its way to the part."""

    def __init__(self, item: str, most: int, finish_seconds: float) -> None:
        self.item = item
        self.over = False
        self.waiting = 0
        """Samples that have not been taken."""
        self.called_off = False
        self._finish_seconds = finish_seconds
        self.scope = anyio.CancelScope()
        """Around the part that hears it: one around all, as the part may hold scopes from word to word."""
        self._most = most
        self._count = 0
        self._pieces: deque[Samples] = deque()
        self._news = anyio.Event()

    @property
    def silent(self) -> bool:
        """There is not a sample in it."""
        return self.over and not self._count

    def put(self, samples: Samples) -> bool:
        """More sound. What is too much is left out at the end: the beginning says what it is about."""
        if self._count >= self._most:
            return False
        self._count += len(samples)
        self.waiting += len(samples)
        self._pieces.append(samples)
        self._ring()
        return True

    def end(self) -> None:
        """No more sound: from now on the next words are waited for so long, and no longer."""
        self.over = True
        self.patience()
        self._ring()

    def call_off(self) -> None:
        """Nothing has been said."""
        self.called_off = True
        self.scope.cancel()

    def patience(self) -> None:
        """The next words are due, if there is no more sound."""
        if self.over:
            self.scope.deadline = anyio.current_time() + self._finish_seconds

    def _ring(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def __aiter__(self) -> _Utterance:
        return self

    async def __anext__(self) -> Samples:
        while not self._pieces:
            if self.over:
                raise StopAsyncIteration
            await self._news.wait()
        samples = self._pieces.popleft()
        self.waiting -= len(samples)
        return samples


class Transcribe(Holds):
    """Give the user's words: a `Transcript` whenever they change, and a final one for every utterance.

    Stands below a `Vad(speech_only=True)`, whose `SpeechStarted` and `SpeechStopped` are the bounds of utterances, and
    consumes the user's sound. The final words are waited for `finish_seconds` after the sound is over, in a task of
    their own, so that the next utterance may begin meanwhile. What the part raises is a `Failure`, and the utterance
    ends with the words that were known; if there were none, the agent is made to say `unheard`. `ClearAudio` calls an
    utterance off.

    While somebody above takes the turns (`TurnControl`), all sound comes here. Then a little of what came before
    `SpeechStarted` is heard with it, and a `Commit` without such news makes an utterance of the sound since the last
    one, of at most a minute.

    Raises `TypeError` for what is no such part, and `ValueError` for sound of another rate, with what to insert.
    """

    name = "transcribe"

    def __init__(
        self,
        stt: SpeechToText,
        *,
        unheard: str = "",
        finish_seconds: float = 10.0,
        longest_seconds: float = 120.0,
    ) -> None:
        positive(finish_seconds=finish_seconds, longest_seconds=longest_seconds)
        if longest_seconds == math.inf:
            raise ValueError("longest_seconds=inf: expected a limit, as sound is kept until it is taken")
        self.part = checked(stt, SpeechToText, "transcribe")
        self.unheard = unheard
        self.finish_seconds = finish_seconds
        self.longest_seconds = longest_seconds
        self.audio_in = AudioFormat(stt.rate, 1)
        self._above = False
        self._utterance: _Utterance | None = None
        self._kept: deque[Audio] = deque()  # outside utterances, while somebody above takes the turns
        self._kept_ms = 0.0
        self._spoken = False  # since the last Commit there was an utterance
        self._count = 0
        self._heard: list[_Utterance] = []
        self._left_out = 0

    def statistics(self) -> TranscriptionStatistics:
        """What is being heard now."""
        return TranscriptionStatistics(
            utterances=len(self._heard),
            waiting_ms=1000 * sum(each.waiting for each in self._heard) / self.part.rate,
            left_out_ms=1000 * self._left_out / self.part.rate,
            part=super().statistics(),
        )

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Listen until the end, and until the last words are known."""
        async with anyio.create_task_group() as group:
            async for frame in inbox:
                if isinstance(frame, Audio):
                    if not frame.response_id:
                        self._listen(frame)
                    continue
                if isinstance(frame, Commit) and self._above:
                    await self._commit(group, out)
                await out.send(frame)
                if isinstance(frame, SpeechStarted):
                    self._begin(frame.item_id, frame.pts - PREROLL, group, out)
                elif isinstance(frame, SpeechStopped):
                    self._stop()
                elif isinstance(frame, ClearAudio):
                    self._clear()
                elif isinstance(frame, TurnControl):
                    self._above = frame.external
                    self._clear()
            self._stop()

    def _listen(self, frame: Audio) -> None:
        samples = self._fitting(frame)
        if self._utterance is not None:
            self._left_out += 0 if self._utterance.put(samples) else len(samples)
        elif self._above:
            self._kept.append(frame)
            self._kept_ms += frame.ms
            while self._kept_ms > KEPT_MS:
                self._kept_ms -= self._kept.popleft().ms

    def _begin(self, item: str, since: int, group: anyio.abc.TaskGroup, out: Outlet[Given]) -> None:
        """An utterance begins, with what is kept of its beginning."""
        self._stop()
        most = round(self.longest_seconds * self.part.rate)
        utterance = self._utterance = _Utterance(item, most, self.finish_seconds)
        for frame in self._kept:
            if frame.pts + frame.duration > since:
                utterance.put(self._fitting(frame))
        self._forget()
        self._spoken = True
        group.start_soon(self._hear, utterance, out)

    def _stop(self) -> None:
        if self._utterance is not None:
            self._utterance.end()
            self._utterance = None

    def _clear(self) -> None:
        """Nothing has been said."""
        if self._utterance is not None:
            self._utterance.call_off()
        self._stop()
        self._forget()

    def _forget(self) -> None:
        self._spoken = False
        self._kept.clear()
        self._kept_ms = 0.0

    async def _commit(self, group: anyio.abc.TaskGroup, out: Outlet[Given]) -> None:
        """What has been said until now is a turn; where nobody has said when, it is all that was heard."""
        if not self._spoken:
            self._count += 1
            first = self._kept[0].pts if self._kept else 0
            await out.send(SpeechStarted(item_id=f"commit-{self._count}", pts=first))
            self._begin(f"commit-{self._count}", first, group, out)
        utterance = self._utterance
        self._stop()
        self._forget()
        if utterance is not None:
            await out.send(SpeechStopped(item_id=utterance.item))

    def _fitting(self, frame: Audio) -> Samples:
        if frame.rate != self.part.rate or frame.channels != 1:
            raise ValueError(
                f"{type(self.part).__name__} got {frame.rate} Hz with {frame.channels} channel(s), and hears "
                f"{self.part.rate} Hz mono; insert Resample({self.part.rate}, channels=1) before it"
            )
        return np.asarray(frame.samples.reshape(-1))

    async def _hear(self, utterance: _Utterance, out: Outlet[Given]) -> None:
        words = ""
        language = self.part.language
        self._heard.append(utterance)
        try:
            with utterance.scope:
                if not utterance.silent:
                    async with aclosing(self.part.transcribe(utterance)) as heard:
                        async for text in heard:
                            utterance.scope.deadline = math.inf
                            if text != words:
                                words = text
                                await out.send(Transcript(text=words, item_id=utterance.item, language=language))
                            utterance.patience()
            if utterance.scope.cancelled_caught and not utterance.called_off:
                raise TimeoutError(f"no final words within {self.finish_seconds:g} s")
        except Exception as error:
            await out.send(failure_of(self.part, error))
            if self.unheard and not words and not self._above:  # where a Commit is due, its turn is answered
                await out.send(Say(text=self.unheard))
        finally:
            self._heard.remove(utterance)
        if utterance.called_off:
            words = ""
        await out.send(Transcript(text=words, item_id=utterance.item, final=True, language=language))
