"""Hearing: the sound of each utterance to a speech-to-text part, its words out by item."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from typing import Any

import anyio
import msgspec
import numpy as np
from bargein.pipeline import (
    Audio,
    AudioFormat,
    Failure,
    Inbox,
    Outlet,
    SpeechStarted,
    SpeechStopped,
    Transcript,
)

from ._part import Holds, failure_of
from .parts import Samples, SpeechToText

__all__ = ["HearingStatistics", "Transcribe"]


class HearingStatistics(msgspec.Struct, frozen=True, kw_only=True):
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

    def __init__(self, item: str, most: int) -> None:
        self.item = item
        self.over = False
        self.waiting = 0
        """Samples that have not been taken."""
        self._most = most
        self._count = 0
        self._pieces: deque[Samples] = deque()
        self._news = anyio.Event()

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
        """No more sound."""
        self.over = True
        self._ring()

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
    ends with the words that were known.

    Raises `ValueError` for sound of another rate, with what to insert.
    """

    name = "transcribe"

    def __init__(self, stt: SpeechToText, *, finish_seconds: float = 10.0, longest_seconds: float = 120.0) -> None:
        self.part = stt
        self.finish_seconds = finish_seconds
        self.longest_seconds = longest_seconds
        self.audio_in = AudioFormat(stt.rate, 1)
        self._heard: list[_Utterance] = []
        self._left_out = 0

    def statistics(self) -> HearingStatistics:
        """What is being heard now."""
        return HearingStatistics(
            utterances=len(self._heard),
            waiting_ms=1000 * sum(each.waiting for each in self._heard) / self.part.rate,
            left_out_ms=1000 * self._left_out / self.part.rate,
            part=super().statistics(),
        )

    async def run(
        self,
        inbox: Inbox[Audio | SpeechStarted | SpeechStopped],
        out: Outlet[SpeechStarted | SpeechStopped | Transcript | Failure],
    ) -> None:
        """Listen until the end, and until the last words are known."""
        utterance: _Utterance | None = None
        async with anyio.create_task_group() as group:
            async for frame in inbox:
                if isinstance(frame, Audio):
                    if utterance is not None and not frame.response:
                        samples = self._fitting(frame)
                        self._left_out += 0 if utterance.put(samples) else len(samples)
                    continue
                await out.send(frame)
                if utterance is not None:
                    utterance.end()
                utterance = None
                if isinstance(frame, SpeechStarted):
                    utterance = _Utterance(frame.item, round(self.longest_seconds * self.part.rate))
                    group.start_soon(self._hear, utterance, out)
            if utterance is not None:
                utterance.end()

    def _fitting(self, frame: Audio) -> Samples:
        if frame.rate != self.part.rate or frame.channels != 1:
            raise ValueError(
                f"{type(self.part).__name__} got {frame.rate} Hz with {frame.channels} channel(s), and hears "
                f"{self.part.rate} Hz mono; insert Resample({self.part.rate}, channels=1) before it"
            )
        return np.asarray(frame.samples.reshape(-1))

    async def _hear(self, utterance: _Utterance, out: Outlet[Transcript | Failure]) -> None:
        words = ""
        language = self.part.language
        self._heard.append(utterance)
        try:
            async with aclosing(self.part.transcribe(utterance)) as heard:
                while True:
                    limit = self.finish_seconds if utterance.over else None
                    with anyio.move_on_after(limit):
                        try:
                            text = await anext(heard)
                        except StopAsyncIteration:
                            break
                        if text != words:
                            words = text
                            await out.send(Transcript(text=words, item=utterance.item, language=language))
                        continue
                    raise TimeoutError(f"no final words within {self.finish_seconds:g} s")
        except Exception as error:
            await out.send(failure_of(self.part, error))
        finally:
            self._heard.remove(utterance)
        await out.send(Transcript(text=words, item=utterance.item, final=True, language=language))
