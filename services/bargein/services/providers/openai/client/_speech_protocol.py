"""OpenAI's speech over HTTP: sound to a file, answers to words and to sound. No I/O."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from bargein.services.cascade.parts import Samples
from bargein.services.providers._shared.remote_socket import Pcm, read
from bargein.services.providers._shared.sse import EventTooLargeError, SseReader

__all__ = ["SoundAnswer", "WordsAnswer", "complaint", "wav"]

SERVICE: Final = "OpenAI"
SHORTEST: Final = 0.1
"""Seconds of sound, at least: less is refused, and gets silence at its end."""
ENCODED: Final = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"OggS", b"fLaC")
"""How MP3, Ogg and FLAC begin, which would be noise, and loud. Content types are not to be relied on."""
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
    """What is spoken, at `rate`: bytes in, samples out. `kind` is the answer's content type.

    Raises `ConnectionError` for what is no sound, with what it says, and for sound that is not raw samples; the header
    of a WAV file, which some servers send all the same, is passed over.
    """

    over = False
    """Only the end of the bytes is its end."""

    def __init__(self, kind: str, rate: int) -> None:
        self._kind = kind
        self._is_text = "json" in kind or kind.startswith("text/")
        self._header = _Header(rate)
        self._pcm = Pcm()
        self._said = bytearray()

    def feed(self, data: bytes) -> Iterator[Samples]:
        """The samples that are complete with these bytes."""
        if self._is_text:
            self._said += data[: LARGEST - len(self._said)]
        elif len(samples := self._pcm.samples(self._header.behind(data))):
            yield samples

    def end(self) -> Iterator[Samples]:
        """What was taken for a header that did not end. Half a sample is none."""
        if self._is_text:
            said = " ".join(self._said.decode("utf-8", "replace").split())[:300]
            raise ConnectionError(f"{SERVICE} sent {self._kind} where sound was expected: {said}")
        if len(samples := self._pcm.samples(self._header.rest())):
            yield samples


class _Header:
    """The beginning of a sound, while it may be the header of a WAV file."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._begun: bytes | None = b""  # None once it is over, or there is none

    def behind(self, data: bytes) -> bytes:
        """What is no header of these bytes, and of those that were kept."""
        if self._begun is None:
            return data
        self._begun += data
        if len(self._begun) < 12:
            return b""
        if self._begun.startswith(ENCODED):
            raise ConnectionError(f"{SERVICE} sent encoded sound where raw samples were asked for; look at options")
        if self._begun[:4] != b"RIFF" or self._begun[8:12] != b"WAVE":
            begun, self._begun = self._begun, None
            return begun
        return self._sound(self._begun)

    def _sound(self, file: bytes) -> bytes:
        """What is known of the sound in a file, of which this is the beginning."""
        at = 12
        while at + 8 <= len(file):
            name, (size,) = file[at : at + 4], struct.unpack_from("<I", file, at + 4)
            if name == b"data":
                self._begun = None
                return file[at + 8 :]
            if name == b"fmt " and at + 24 <= len(file):
                self._check(*struct.unpack_from("<HHIIHH", file, at + 8))
            at += 8 + size + size % 2
        if len(file) > LARGEST:
            raise ConnectionError(f"{SERVICE} sent a WAV file without sound")
        return b""

    def rest(self) -> bytes:
        """What was kept, if it is too short for a header."""
        kept, self._begun = self._begun or b"", None
        return b"" if len(kept) >= 12 else kept

    def _check(self, tag: int, channels: int, rate: int, bytes_a_second: int, align: int, bits: int) -> None:
        if (channels, rate, bits) != (1, self._rate, 16):
            raise ConnectionError(
                f"{SERVICE} sent {bits} bits at {rate} Hz with {channels} channel(s), and 16 bits at {self._rate} Hz "
                "mono were expected; give its rate="
            )
