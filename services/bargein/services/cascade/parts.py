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
    """Base of speech-to-text parts. To write one, implement `transcribe`::

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
    """Rate of the sound that it takes, in samples a second (Hz). The sound is mono."""
    language: str = ""
    """BCP 47 tag of the language that it understands, such as `en-US`; empty if unknown."""

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
    """Name of the tool."""
    arguments: str = "{}"
    """The arguments as JSON, exactly as the model wrote it."""
    call_id: str = ""
    """The model's id of the call. An empty id is replaced by a new one."""


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
    """Base of language models. To write one, implement `answer`::

        class Mine(LanguageModel):
            async def answer(self, prompt):
                async for piece in self.client.stream(prompt.instructions, prompt.entries):
                    yield piece           # text, in pieces of any size
                yield ToolRequest(name="weather", arguments='{"city": "Paris"}')

    Pieces of text are joined without a separator. After tool calls the model is asked again, with their results. An
    interrupt cancels the iteration. A part that is a context manager is entered before the first prompt.
    """

    images: bool = False
    """Whether the model can look at the pictures of a prompt."""

    def answer(self, prompt: Prompt) -> AsyncIterator[str | ToolRequest | Usage]:
        """Answer a prompt.

        Args:
            prompt: The conversation, the instructions and the tools.

        Returns:
            Pieces of text as they are written, tool calls, and the `Usage` of the answer if it is known.
        """
        raise NotImplementedError


class Word(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """The time at which a piece of a text is spoken, from the beginning of that text's sound."""

    text: str
    """The piece, exactly as it is in the text."""
    start_ms: float
    """Beginning of its sound, in milliseconds."""
    end_ms: float
    """End of its sound, in milliseconds."""


class UnspeakableError(BargeinError, ValueError):
    """A voice has no sound for a text."""


class TextToSpeech:
    """Base of text-to-speech parts. To write one, implement `speak`::

        class Mine(TextToSpeech):
            rate = 24_000

            async def speak(self, text):
                async for samples in self.client.synthesise(text):
                    yield samples         # int16, mono, at `rate`

    A part that knows the times of its words also yields a `Word` for each, before or after the word's sound. An
    interrupt cancels the iteration. A part that is a context manager is entered before the first sentence.
    """

    rate: int = 24_000
    """Rate of the sound that it yields, in samples a second (Hz). The sound is mono."""

    def speak(self, text: str) -> AsyncIterator[Samples | Word]:
        """Speak a sentence, or a part of one.

        Args:
            text: The text to speak.

        Returns:
            `int16` arrays of shape `(n,)`, as soon as there is sound, and the times of the words if they are known.
        """
        raise NotImplementedError
