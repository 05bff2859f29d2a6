"""The three parts of a cascade: speech-to-text, language model, text-to-speech. Each has one method to write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from bargein.pipeline import BargeinError, Usage
from bargein.pipeline.lowlevel import CheckedFields, Samples
from bargein.services.history import Entry

__all__ = ["LanguageModel", "Prompt", "SpeechToText", "TextToSpeech", "ToolRequest", "UnspeakableError", "Word"]


class SpeechToText:
    """The part that hears. Write `transcribe`::

        class Mine(SpeechToText):
            async def transcribe(self, sound):
                words = ""
                async for samples in sound:
                    words = await self.client.send(samples)
                    yield words           # all that is known of the utterance so far
                yield await self.client.finish()

    A part that is a context manager is entered before the first utterance and left after the last. Several utterances
    may be open at once: the next one may begin while one is still being finished.
    """

    rate: int = 16_000
    """Samples a second (Hz) of the sound that it takes, mono."""
    language: str = ""
    """BCP 47 tag of the language that it understands; empty if that is not known."""

    def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        """Transcribe one utterance.

        Args:
            sound: `int16` arrays of shape `(n,)`, until the utterance is over.

        Returns:
            The text so far, each time that it changes; the last one is final. No text means that nothing was said.
        """
        raise NotImplementedError


class ToolRequest(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """A tool call that a language model asks for."""

    name: str
    """The tool."""
    arguments: str = "{}"
    """The arguments: JSON, as the model wrote it."""
    call_id: str = ""
    """The model's id for the call. If it is empty, an id is made."""


class Prompt(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The input of a language model for one answer."""

    entries: Sequence[Entry]
    """The conversation, oldest first: what the user said, what was heard of the agent (`remembered`), tool calls with
    their results, pictures."""
    instructions: str = ""
    """The system prompt."""
    tools: Sequence[dict[str, Any]] = ()
    """The tools, each with `name`, `description` and `parameters`, a JSON schema."""


class LanguageModel:
    """The part that thinks. Write `answer`::

        class Mine(LanguageModel):
            async def answer(self, prompt):
                async for piece in self.client.stream(prompt.instructions, prompt.entries):
                    yield piece           # text, in pieces of any size
                yield ToolRequest(name="weather", arguments='{"city": "Paris"}')

    Pieces are joined without adding anything. After tool calls it is asked again, with their results. An interrupt
    cancels it. A part that is a context manager is entered before the first prompt.
    """

    images: bool = False
    """Whether it can look at the pictures of a prompt."""

    def answer(self, prompt: Prompt) -> AsyncIterator[str | ToolRequest | Usage]:
        """Answer a prompt.

        Args:
            prompt: The conversation, the instructions and the tools.

        Returns:
            Text as it is written, tool calls, and what the answer cost if that is known.
        """
        raise NotImplementedError


class Word(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """When a piece of a text sounds, counted from the beginning of that text's sound."""

    text: str
    """The piece, as it is in the text."""
    start_ms: float
    """Where its sound begins."""
    end_ms: float
    """Where its sound ends."""


class UnspeakableError(BargeinError, ValueError):
    """A voice has no sound for a text."""


class TextToSpeech:
    """The part that speaks. Write `speak`::

        class Mine(TextToSpeech):
            rate = 24_000

            async def speak(self, text):
                async for samples in self.client.synthesise(text):
                    yield samples         # int16, mono, at `rate`

    If it knows when its words sound, it also yields a `Word` for each, before or after the word's sound. An interrupt
    cancels it. A part that is a context manager is entered before the first sentence.
    """

    rate: int = 24_000
    """Samples a second (Hz) of the sound that it makes, mono."""

    def speak(self, text: str) -> AsyncIterator[Samples | Word]:
        """Speak a sentence, or a part of one.

        Args:
            text: What to say.

        Returns:
            `int16` arrays of shape `(n,)`, as soon as there is sound, and the times of the words if they are known.
        """
        raise NotImplementedError
