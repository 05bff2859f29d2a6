"""Parts that do as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio
import numpy as np

from bargein.pipeline import Usage
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import tone
from bargein.services.cascade import LanguageModel, Prompt, SpeechToText, TextToSpeech, ToolRequest, Word

LETTER_MS = 50.0
"""How long a letter sounds."""


class Ears(SpeechToText):
    """Understands each utterance as the next of some texts, a word every `seconds`; an exception is raised."""

    def __init__(self, *texts: str | Exception, seconds: float = 0.0) -> None:
        self.texts = list(texts)
        self.seconds = seconds
        self.heard_ms: list[float] = []

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        count = 0
        async for samples in sound:
            count += len(samples)
        self.heard_ms.append(1000 * count / self.rate)
        text = self.texts.pop(0) if self.texts else ""
        if isinstance(text, Exception):
            raise text
        words = text.split()
        for at in range(1, len(words) + 1):
            if self.seconds:
                await anyio.sleep(self.seconds)
            yield " ".join(words[:at])


Says = str | ToolRequest | Usage | float | Exception


class Mind(LanguageModel):
    """Answers as a function of the prompt, or with the next of some replies: pieces, pauses in seconds, exceptions."""

    def __init__(self, *replies: Iterable[Says] | Callable[[Prompt], Iterable[Says]]) -> None:
        self.replies = list(replies)
        self.prompts: list[Prompt] = []
        self.left = 0
        self.entered = 0

    async def __aenter__(self) -> Mind:
        self.entered += 1
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.entered -= 1

    async def answer(self, prompt: Prompt) -> AsyncIterator[str | ToolRequest | Usage]:
        self.prompts.append(prompt)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        try:
            for piece in reply(prompt) if callable(reply) else reply:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, float):
                    await anyio.sleep(piece)
                else:
                    yield piece
        finally:
            self.left += 1

    @property
    def said(self) -> list[tuple[str, str | None]]:
        """The conversation of the latest prompt."""
        return [(entry.role, entry.output or entry.remembered) for entry in self.prompts[-1].entries]


class Voice(TextToSpeech):
    """Says each letter for `LETTER_MS`; with `words`, when each word sounds. What it is told not to say it cannot."""

    rate = 16_000

    def __init__(self, *, words: bool = False, cannot: str = "") -> None:
        self.words = words
        self.cannot = cannot
        self.said: list[str] = []

    async def speak(self, text: str) -> AsyncIterator[Samples | Word]:
        if self.cannot and self.cannot in text:
            raise ValueError(f"I cannot say {self.cannot}")
        self.said.append(text)
        at = 0
        for word in text.split(" ") if self.words else []:
            start, at = at, at + len(word) + 1
            if word:
                yield Word(text=word, start_ms=start * LETTER_MS, end_ms=(start + len(word)) * LETTER_MS)
        for piece in np.array_split(tone(200, LETTER_MS * len(text), rate=self.rate), 3):
            yield piece
