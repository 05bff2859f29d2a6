"""Hearing and speaking over OpenAI's HTTP interface, and over that of the many servers that have the same."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from .._remote import Pcm, read
from ..cascade.parts import Samples, SpeechToText, TextToSpeech, Word
from ._http import Http, complaint

__all__ = ["OpenAISpeech", "OpenAITranscription"]

SHORTEST: Final = 0.1
"""Seconds of sound, at least: less is refused, and gets silence at its end."""


class OpenAITranscription(Http, SpeechToText):
    """Hear with OpenAI: an utterance is sent when it is over, and its words come as they are written::

        Cascade(OpenAITranscription(), ..., ...)

    `language` is a BCP 47 tag, of which the first part is sent; `prompt` says what to expect. `options` are any other
    fields of the interface, merged over ours. The key is that of `OPENAI_API_KEY` unless it is given; a server that
    asks for none takes any. `base_url` is that of a compatible server, such as `"http://localhost:8000/v1"`.

    Raises `ConnectionError` where the server refuses, complains or breaks off, and `TimeoutError` where nothing comes
    for `silence_seconds`. Raises `ValueError` without a key.
    """

    def __init__(
        self,
        model: str = "gpt-4o-mini-transcribe",
        *,
        api_key: str | None = None,
        language: str = "",
        prompt: str = "",
        options: Mapping[str, str] | None = None,
        base_url: str = "https://api.openai.com/v1",
        silence_seconds: float = 10.0,
    ) -> None:
        super().__init__(api_key, base_url, silence_seconds)
        self.language = language
        self._fields = {"model": model, "response_format": "json", "stream": "true"}
        self._fields |= {"language": language.split("-", 1)[0]} if language else {}
        self._fields |= {"prompt": prompt} if prompt else {}
        self._fields |= options or {}

    def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncGenerator[str]:
        """Hear one utterance."""
        return self._exchange(partial(self._hear, sound))

    async def _hear(self, sound: AsyncIterator[Samples], put: Callable[[str], Awaitable[None]]) -> None:
        pieces = [samples async for samples in sound]
        if not sum(map(len, pieces)):
            return
        file = ("speech.wav", _wav(np.concatenate(pieces), self.rate), "audio/wav")
        async with self._post("/audio/transcriptions", data=self._fields, files={"file": file}) as (kind, body):
            if "text/event-stream" not in kind:
                whole = b"".join([data async for data in body])
                if text := read(self.service, whole, _Whole).text.strip():
                    await put(text)
                return
            words = _Words()
            async with aclosing(_lines(body)) as lines:
                async for line in lines:
                    if words.receive(line):
                        await put(words.text)
                    if words.complete:
                        return
            raise ConnectionError("OpenAI broke off in the middle: the last words did not come")


class OpenAISpeech(Http, TextToSpeech):
    """Speak with OpenAI, as the sound is made::

        Cascade(..., ..., OpenAISpeech(voice="marin", instructions="Speak calmly."))

    `options` are any other fields of the interface (`{"speed": 1.1}`), merged over ours. The sound is OpenAI's, 24 kHz;
    `rate` is for a server that has another. It does not say when its words sound. The key is that of `OPENAI_API_KEY`
    unless it is given; a server that asks for none takes any. `base_url` is that of a compatible server.

    Raises `ConnectionError` where the server refuses, complains or breaks off, and `TimeoutError` where nothing comes
    for `silence_seconds`. Raises `ValueError` without a key.
    """

    def __init__(
        self,
        model: str = "gpt-4o-mini-tts",
        *,
        voice: str = "alloy",
        api_key: str | None = None,
        instructions: str = "",
        options: Mapping[str, Any] | None = None,
        rate: int = 24_000,
        base_url: str = "https://api.openai.com/v1",
        silence_seconds: float = 10.0,
    ) -> None:
        super().__init__(api_key, base_url, silence_seconds)
        self.rate = rate
        self._fields: dict[str, Any] = {"model": model, "voice": voice, "response_format": "pcm"}
        self._fields |= {"instructions": instructions} if instructions else {}
        self._fields |= options or {}

    def speak(self, text: str) -> AsyncGenerator[Samples | Word]:
        """Speak a sentence or a part of one."""
        return self._exchange(partial(self._say, text))

    async def _say(self, text: str, put: Callable[[Samples | Word], Awaitable[None]]) -> None:
        if not text.strip():
            return
        pcm = Pcm()
        async with self._post("/audio/speech", json={**self._fields, "input": text}) as (kind, body):
            if "json" in kind or kind.startswith("text/"):
                said = self._clean(b"".join([data async for data in body]).decode("utf-8", "replace"))
                raise ConnectionError(f"OpenAI sent {kind} where sound was expected: {said}")
            async for data in body:
                if len(samples := pcm.samples(data)):
                    await put(samples)


def _wav(samples: Samples, rate: int) -> bytes:
    """A file in memory."""
    short = max(0, round(SHORTEST * rate) - len(samples))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.pad(samples, (0, short)).astype("<i2").tobytes())
    return file.getvalue()


async def _lines(body: AsyncIterator[bytes]) -> AsyncGenerator[str]:
    """Pieces of any size as lines."""
    rest = b""
    async for data in body:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r")
    yield rest.decode("utf-8", "replace")


class _Whole(msgspec.Struct):
    """The answer where the server does not stream."""

    text: str


class _Event(msgspec.Struct):
    """An event of the stream."""

    type: str = ""
    delta: str = ""
    text: str = ""
    error: Any = None


class _Words:
    """The protocol: lines of server-sent events in, the text so far out."""

    def __init__(self) -> None:
        self.text = ""
        """The words so far."""
        self.complete = False
        """Nothing more will come."""
        self._written = ""

    def receive(self, line: str) -> bool:
        """Take a line; says whether the words have changed. Raises `ConnectionError` for errors and nonsense."""
        field, _, data = line.partition(":")
        data = data.removeprefix(" ")
        if field != "data" or not data:  # the kind of an event stands in its data, too
            return False
        before = self.text
        if data == "[DONE]":
            self.complete = True
            return False
        event = read("OpenAI", data, _Event)
        if event.type == "error" or event.error:
            raise ConnectionError(f"OpenAI reports an error: {(complaint(data) or data)[:300]}")
        if event.type == "transcript.text.delta":
            self._written += event.delta
            self.text = self._written.strip()
        elif event.type == "transcript.text.done":
            self.text, self.complete = event.text.strip() or self.text, True
        return self.text != before
