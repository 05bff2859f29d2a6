"""The three parts of a cascade: who hears, who thinks, who speaks. Each is a class with one method to write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from bargein.pipeline import BargeinError, Usage
from bargein.services.history import Entry

__all__ = ["LanguageModel", "Prompt", "SpeechToText", "TextToSpeech", "ToolRequest", "UnspeakableError", "Word"]

Samples = npt.NDArray[np.int16]


class SpeechToText:
    """Who hears. Write `transcribe`::

        class Mine(SpeechToText):
            async def transcribe(self, sound):
                words = ""
                async for samples in sound:
                    words = await self.client.send(samples)
                    yield words           # all that is known of the utterance so far
                yield await self.client.finish()

    A part that is a context manager is entered before the first utterance and left after the last. Several utterances
    may be open at once, when one is still being finished while the next begins.
    """

    rate: int = 16_000
    """Samples a second (Hz) that it hears, mono."""
    language: str = ""
    """BCP 47 tag of what it understands, when that is known."""

    def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        """Hear one utterance: `sound` gives `int16` arrays of shape `(n,)` until it is over.

        Give the text so far as often as it changes; the last one is final. Nothing means that nothing was said.
        """
        raise NotImplementedError


class ToolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that a language model wants to be called."""

    name: str
    """The tool."""
    arguments: str = "{}"
    """JSON, as the model wrote it."""
    call: str = ""
    """The model's own id for it; one is made when it is empty."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """All that a language model is asked with."""

    entries: Sequence[Entry]
    """The conversation, oldest first: what users said and what was heard of the agent (`remembered`), tool calls with
    their results, pictures."""
    instructions: str = ""
    """What it should do and be."""
    tools: Sequence[dict[str, Any]] = ()
    """Each with `name`, `description` and `parameters`, a JSON schema."""


class LanguageModel:
    """Who thinks. Write `answer`::

        class Mine(LanguageModel):
            async def answer(self, prompt):
                async for piece in self.client.stream(prompt.instructions, prompt.entries):
                    yield piece           # text, in pieces of any size
                yield ToolRequest(name="weather", arguments='{"city": "Paris"}')

    Pieces are joined without adding anything. After calls it is asked again, with their results. It is cancelled when
    the user interrupts. A part that is a context manager is entered before the first question.
    """

    images: bool = False
    """It looks at the pictures in a prompt."""

    def answer(self, prompt: Prompt) -> AsyncIterator[str | ToolRequest | Usage]:
        """Answer: text as it is written, calls of tools, and what it cost if that is known."""
        raise NotImplementedError


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """When a piece of a text sounds, from the beginning of that text's sound."""

    text: str
    """The piece, as it stands in the text."""
    start_ms: float
    """Where its sound begins."""
    end_ms: float
    """Where its sound ends."""


class UnspeakableError(BargeinError, ValueError):
    """A voice has no sound for this."""


class TextToSpeech:
    """Who speaks. Write `speak`::

        class Mine(TextToSpeech):
            rate = 24_000

            async def speak(self, text):
                async for samples in self.client.synthesise(text):
                    yield samples         # int16, mono, at `rate`

    Where it knows when its words sound, it gives a `Word` for each, before or after their sound. It is cancelled when
    the user interrupts. A part that is a context manager is entered before the first sentence.
    """

    rate: int = 24_000
    """Samples a second (Hz) that it speaks, mono."""

    def speak(self, text: str) -> AsyncIterator[Samples | Word]:
        """Speak a sentence or a part of one: `int16` arrays of shape `(n,)`, as soon as there is sound."""
        raise NotImplementedError
