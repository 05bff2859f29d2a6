"""ElevenLabs' protocol: sentences to messages, messages to sound and words. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from bargein.services.cascade.parts import Samples, Word
from bargein.services.providers._shared.remote_socket import Pcm, read
from bargein.services.providers._shared.voice_protocol import SpeechPiece

__all__ = ["ElevenLabsProtocol"]

CLEAR_MS: Final = 500.0
"""So much sound there must be to tell whether times are those of a message or of the whole."""


class _Alignment(msgspec.Struct, rename="camel"):
    """When each character sounds."""

    chars: list[str] = []
    char_start_times_ms: list[float] = []
    char_durations_ms: list[float] = []


class _Message(msgspec.Struct, rename="camel"):
    """Whatever the server may say."""

    audio: bytes | None = None
    is_final: bool | None = None
    context_id: str | None = None
    alignment: _Alignment | None = None
    normalized_alignment: _Alignment | None = None
    error: Any = None
    message: Any = None


class ElevenLabsProtocol:
    """One connection of many contexts, of which five may be open: each sentence's is closed as soon as it is asked for.

    A context that is to be closed still speaks what was flushed, and then says that it is final.
    """

    def __init__(self, rate: int, settings: Mapping[str, Any] | None = None) -> None:
        self._rate = rate
        self._settings = dict(settings or {})
        self._open: dict[str, _Speech] = {}

    def begin(self, context: str, text: str) -> Sequence[str]:
        """The settings, the text, and that it is all."""
        self._open[context] = _Speech(self._rate)
        settings = {"voice_settings": self._settings} if self._settings else {}
        messages: list[dict[str, Any]] = [
            {"text": " ", **settings, "context_id": context},
            {"text": f"{text.strip()} ", "context_id": context, "flush": True},
            {"context_id": context, "close_context": True},
        ]
        return [msgspec.json.encode(each).decode() for each in messages]

    def cancel(self, context: str) -> Sequence[str]:
        """Nothing: the context has been closed already, and what still comes of it is left out."""
        self._open.pop(context, None)
        return []

    def receive(self, data: str | bytes) -> SpeechPiece:
        """What a message says. Raises `ConnectionError` for nonsense."""
        message = read("ElevenLabs", data, _Message)
        context = message.context_id
        if message.error or (message.message and message.audio is None):
            said = ": ".join(str(each) for each in (message.error, message.message) if each)
            if context is None:
                self._open.clear()
            else:
                self._open.pop(context, None)
            return SpeechPiece(context=context, fault=said)
        if context is None and len(self._open) == 1:
            (context,) = self._open  # it can be of no other
        speech = self._open.get(context or "")
        if speech is None:
            return SpeechPiece(context=context or "")  # what has been called off, perhaps
        pieces = list(speech.pieces(message))
        if message.is_final:
            pieces += speech.rest()
            del self._open[context or ""]
        return SpeechPiece(context=context, pieces=pieces, done=bool(message.is_final))


class _Speech:
    """One sentence: the sound so far, and the word that has not ended."""

    def __init__(self, rate: int) -> None:
        self._pcm = Pcm()
        self._rate = rate
        self._word = ""  # its beginning, when a message ends within it
        self._start = self._end = 0.0

    def pieces(self, message: _Message) -> Iterator[Samples | Word]:
        """What a message gives."""
        offset = 1000 * self._pcm.count / self._rate
        if message.audio:
            yield self._pcm.samples(message.audio)
        alignment = message.alignment or message.normalized_alignment
        if alignment is not None:
            yield from self._words(alignment, offset)

    def rest(self) -> Iterator[Word]:
        """The last word, which no space has ended."""
        if self._word:
            yield Word(text=self._word, start_ms=self._start, end_ms=self._end)
            self._word = ""

    def _words(self, alignment: _Alignment, offset: float) -> Iterator[Word]:
        starts = alignment.char_start_times_ms
        if starts and offset >= CLEAR_MS and starts[0] >= 0.8 * offset:
            offset = 0.0  # documented as those of the message; some models count from the beginning of the sound
        for char, start, duration in zip(alignment.chars, starts, alignment.char_durations_ms, strict=False):
            if char.isspace():
                yield from self.rest()
                continue
            if _stands_alone(char) or _stands_alone(self._word):
                yield from self.rest()
            begin = max(self._end, offset + start)
            if not self._word:
                self._start = begin
            self._word += char
            self._end = max(begin, offset + start + duration)


def _stands_alone(char: str) -> bool:
    """It is written in Chinese, Japanese or Thai, where no space ends a word."""
    return len(char) == 1 and (
        "\u0e00" <= char <= "\u0e7f" or "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff"
    )
