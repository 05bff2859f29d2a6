"""OpenAI's speech over HTTP, without I/O: sound becomes a file, and answers become text or sound."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from bargein.pipeline.lowlevel import Samples
from bargein.services.providers._shared.remote_speech import PcmDecoder, decode_json
from bargein.services.providers._shared.sse import EventTooLargeError, SseReader

__all__ = ["SpeechReader", "TranscriptReader", "error_message", "wav"]

SERVICE: Final = "OpenAI"
MIN_SECONDS: Final = 0.1
"""OpenAI refuses shorter sound, so silence is added at its end."""
ENCODED: Final = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"OggS", b"fLaC")
"""First bytes of MP3, Ogg and FLAC. Played as samples they would be loud noise; content types cannot be trusted."""
MAX_BYTES: Final = 2**20
"""Bytes of an answer that is not a stream, at most."""


def wav(samples: Samples, rate: int) -> bytes:
    """Return samples as a WAV file in memory."""
    short = max(0, round(MIN_SECONDS * rate) - len(samples))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.pad(samples, (0, short)).astype("<i2").tobytes())
    return file.getvalue()


def error_message(body: str | bytes) -> str:
    """Return the message of an error of the interface; empty for any other body."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or error or "")


class _Whole(msgspec.Struct):
    """The answer of a server that does not stream."""

    text: str


class _Event(msgspec.Struct):
    """An event of the stream."""

    type: str = ""
    delta: str = ""
    text: str = ""
    error: Any = None


class TranscriptReader:
    """Reads a transcript: takes bytes, yields the text so far.

    Args:
        kind: The answer's content type.

    Raises:
        ConnectionError: The server reports an error, sends nonsense, or ends before the last words.
    """

    def __init__(self, kind: str) -> None:
        self.over = False
        """The transcript is complete."""
        self._streamed = "text/event-stream" in kind
        self._reader = SseReader()
        self._body = bytearray()  # of an answer that is not a stream
        self._written = self._text = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """Return the texts that are complete with these bytes; each replaces the one before."""
        if not self._streamed:
            self._body += data[: MAX_BYTES - len(self._body)]
            return
        try:
            for event in self._reader.feed(data):
                yield from self._take(event.data)
        except EventTooLargeError as error:
            raise ConnectionError(f"{SERVICE} sent {error}") from None

    def end(self) -> Iterator[str]:
        """Return the last text, when no more bytes will come."""
        if not self._streamed:
            self.over = True
            if text := decode_json(SERVICE, bytes(self._body), _Whole).text.strip():
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
        event, before = decode_json(SERVICE, data, _Event), self._text
        if event.type == "error" or event.error:
            raise ConnectionError(f"{SERVICE} reports an error: {(error_message(data) or data)[:300]}")
        if event.type == "transcript.text.delta":
            self._written += event.delta
            self._text = self._written.strip()
        elif event.type == "transcript.text.done":
            self._text, self.over = event.text.strip() or self._text, True
        if self._text != before:
            yield self._text


class SpeechReader:
    """Reads sound: takes bytes, yields samples.

    Some servers send a WAV file although raw samples were asked for; its header is skipped.

    Args:
        kind: The answer's content type.
        rate: Samples per second (Hz) that are expected.

    Raises:
        ConnectionError: The answer is text, encoded sound, or sound in another format.
    """

    over = False
    """Always False: only the end of the bytes is the end of the sound."""

    def __init__(self, kind: str, rate: int) -> None:
        self._kind = kind
        self._is_text = "json" in kind or kind.startswith("text/")
        self._header = _Header(rate)
        self._pcm = PcmDecoder()
        self._text = bytearray()

    def feed(self, data: bytes) -> Iterator[Samples]:
        """Return the samples that are complete with these bytes."""
        if self._is_text:
            self._text += data[: MAX_BYTES - len(self._text)]
        elif len(samples := self._pcm.decode(self._header.skip(data))):
            yield samples

    def end(self) -> Iterator[Samples]:
        """Return the samples of a beginning that looked like a header. Half a sample is dropped."""
        if self._is_text:
            message = " ".join(self._text.decode("utf-8", "replace").split())[:300]
            raise ConnectionError(f"{SERVICE} sent {self._kind} where sound was expected: {message}")
        if len(samples := self._pcm.decode(self._header.flush())):
            yield samples


class _Header:
    """Skips the header of a WAV file at the beginning of the bytes, if there is one."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._beginning: bytes | None = b""  # what may be a header; None once there cannot be more of it

    def skip(self, data: bytes) -> bytes:
        """Return the bytes that are sound, of these and of those that were held back."""
        if self._beginning is None:
            return data
        self._beginning += data
        if len(self._beginning) < 12:
            return b""
        if self._beginning.startswith(ENCODED):
            raise ConnectionError(f"{SERVICE} sent encoded sound where raw samples were asked for; look at options")
        if self._beginning[:4] != b"RIFF" or self._beginning[8:12] != b"WAVE":
            begun, self._beginning = self._beginning, None
            return begun
        return self._sound(self._beginning)

    def _sound(self, file: bytes) -> bytes:
        """Return the sound in the beginning of a WAV file, as far as it is there."""
        at = 12
        while at + 8 <= len(file):
            name, (size,) = file[at : at + 4], struct.unpack_from("<I", file, at + 4)
            if name == b"data":
                self._beginning = None
                return file[at + 8 :]
            if name == b"fmt " and at + 24 <= len(file):
                self._check(*struct.unpack_from("<HHIIHH", file, at + 8))
            at += 8 + size + size % 2
        if len(file) > MAX_BYTES:
            raise ConnectionError(f"{SERVICE} sent a WAV file without sound")
        return b""

    def flush(self) -> bytes:
        """Return what was held back, if it is too short to be a header."""
        rest, self._beginning = self._beginning or b"", None
        return b"" if len(rest) >= 12 else rest

    def _check(self, tag: int, channels: int, rate: int, bytes_a_second: int, align: int, bits: int) -> None:
        if (channels, rate, bits) != (1, self._rate, 16):
            raise ConnectionError(
                f"{SERVICE} sent {bits} bits at {rate} Hz with {channels} channel(s), and 16 bits at {self._rate} Hz "
                "mono were expected; give its rate="
            )
