"""OpenAI's speech over HTTP: sound to a file, answers to words and to sound. No I/O."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from .._remote import Pcm, read
from .._sse import EventTooLargeError, SseReader
from ..cascade.parts import Samples

__all__ = ["SoundAnswer", "WordsAnswer", "complaint", "wav"]

SERVICE: Final = "OpenAI"
SHORTEST: Final = 0.1
"""Seconds of sound, at least: less is refused, and gets silence at its end."""
LARGEST: Final = 2**20
"""Bytes of an answer that is no stream, at most."""


def wav(samples: Samples, rate: int) -> bytes:
    """A file in memory."""
    short = max(0, round(SHORTEST * rate) - len(samples))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.pad(samples, (0, short)).astype("<i2").tobytes())
    return file.getvalue()


def complaint(body: str | bytes) -> str:
    """What an error says, if it is one of the interface's."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or error or "")


class _Whole(msgspec.Struct):
    """The answer where the server does not stream."""

    text: str


class _Event(msgspec.Struct):
    """An event of the stream."""

    type: str = ""
    delta: str = ""
    text: str = ""
    error: Any = None


class WordsAnswer:
    """What was heard: bytes in, the text so far out. `kind` is the answer's content type.

    Raises `ConnectionError` for errors and nonsense, and at the end where the last words have not come.
    """

    def __init__(self, kind: str) -> None:
        self.over = False
        """Nothing more will come."""
        self._streamed = "text/event-stream" in kind
        self._reader = SseReader()
        self._body = bytearray()  # of an answer that is no stream
        self._written = self._text = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """The texts that are complete with these bytes."""
        if not self._streamed:
            self._body += data[: LARGEST - len(self._body)]
            return
        try:
            for event in self._reader.feed(data):
                yield from self._take(event.data)
        except EventTooLargeError as error:
            raise ConnectionError(f"{SERVICE} sent {error}") from None

    def end(self) -> Iterator[str]:
        """The last text: no more bytes will come."""
        if not self._streamed:
            self.over = True
            if text := read(SERVICE, bytes(self._body), _Whole).text.strip():
                yield text
            return
        if not self.over:
            for event in self._reader.end():
                yield from self._take(event.data)
        if not self.over:
            raise ConnectionError(f"{SERVICE} broke off in the middle: the last words did not come")

    def _take(self, data: str) -> Iterator[str]:
        if self.over or not data:
            return
        if data == "[DONE]":
            self.over = True
            return
        event, before = read(SERVICE, data, _Event), self._text
        if event.type == "error" or event.error:
            raise ConnectionError(f"{SERVICE} reports an error: {(complaint(data) or data)[:300]}")
        if event.type == "transcript.text.delta":
            self._written += event.delta
            self._text = self._written.strip()
        elif event.type == "transcript.text.done":
            self._text, self.over = event.text.strip() or self._text, True
        if self._text != before:
            yield self._text


class SoundAnswer:
    """What is spoken: bytes in, samples out. `kind` is the answer's content type.

    Raises `ConnectionError` at the end of an answer that is no sound, with what it says.
    """

    over = False
    """Only the end of the bytes is its end."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._is_text = "json" in kind or kind.startswith("text/")
        self._pcm = Pcm()
        self._said = bytearray()

    def feed(self, data: bytes) -> Iterator[Samples]:
        """The samples that are complete with these bytes."""
        if self._is_text:
            self._said += data[: LARGEST - len(self._said)]
        elif len(samples := self._pcm.samples(data)):
            yield samples

    def end(self) -> Iterator[Samples]:
        """Nothing more. Half a sample is none."""
        if self._is_text:
            said = " ".join(self._said.decode("utf-8", "replace").split())[:300]
            raise ConnectionError(f"{SERVICE} sent {self._kind} where sound was expected: {said}")
        yield from ()
