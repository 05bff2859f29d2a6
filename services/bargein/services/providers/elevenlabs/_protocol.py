"""ElevenLabs' protocol: sentences to messages, messages to audio and words. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import Word
from bargein.services.providers._shared.remote_speech import PcmDecoder, decode_json
from bargein.services.providers._shared.voice_socket import SpeechPiece

__all__ = ["ElevenLabsProtocol"]

CLEAR_OFFSET_MS: Final = 500.0
"""Audio that must have come before it is clear whether times count from the message or from the sentence's
beginning."""


class _Alignment(msgspec.Struct, rename="camel"):
    """Characters with the times at which they sound."""

    chars: list[str] = []
    char_start_times_ms: list[float] = []
    char_durations_ms: list[float] = []


class _Message(msgspec.Struct, rename="camel"):
    """Any message of the server."""

    audio: bytes | None = None
    is_final: bool | None = None
    context_id: str | None = None
    alignment: _Alignment | None = None
    normalized_alignment: _Alignment | None = None
    error: Any = None
    message: Any = None


class ElevenLabsProtocol:
    """The protocol of one connection.

    A connection may have five open contexts. So each sentence's context is closed as soon as the sentence is requested.
    The server still speaks what was flushed, and then marks the context as final.

    Args:
        rate: The rate of the audio in Hz.
        voice_settings: The `voice_settings` of every sentence.
    """

    def __init__(self, rate: int, voice_settings: Mapping[str, Any] | None = None) -> None:
        self._rate = rate
        self._voice_settings = dict(voice_settings or {})
        self._open: dict[str, _Sentence] = {}

    def begin(self, context: str, text: str) -> Sequence[str]:
        """Return the messages that request a sentence: the settings, the text, and the end of the context."""
        self._open[context] = _Sentence(self._rate)
        settings = {"voice_settings": self._voice_settings} if self._voice_settings else {}
        messages: list[dict[str, Any]] = [
            {"text": " ", **settings, "context_id": context},
            {"text": f"{text.strip()} ", "context_id": context, "flush": True},
            {"context_id": context, "close_context": True},
        ]
        return [msgspec.json.encode(each).decode() for each in messages]

    def cancel(self, context: str) -> Sequence[str]:
        """Return no messages: the context is closed already. Later audio of it is ignored."""
        self._open.pop(context, None)
        return []

    def receive(self, data: str | bytes) -> SpeechPiece:
        """Return the meaning of a message. Raises `ConnectionError` for one that cannot be read."""
        message = decode_json("ElevenLabs", data, _Message)
        context = message.context_id
        if message.error or (message.message and message.audio is None):
            fault = ": ".join(str(each) for each in (message.error, message.message) if each)
            if context is None:
                self._open.clear()
            else:
                self._open.pop(context, None)
            return SpeechPiece(context=context, fault=fault)
        if context is None and len(self._open) == 1:
            (context,) = self._open  # it can belong to no other
        sentence = self._open.get(context or "")
        if sentence is None:
            return SpeechPiece(context=context or "")  # of a cancelled sentence, usually
        pieces = list(sentence.pieces(message))
        if message.is_final:
            pieces += sentence.end_word()
            del self._open[context or ""]
        return SpeechPiece(context=context, pieces=pieces, done=bool(message.is_final))


class _Sentence:
    """The audio of one sentence so far, and the word that has not ended."""

    def __init__(self, rate: int) -> None:
        self._decoder = PcmDecoder()
        self._rate = rate
        self._word = ""  # its beginning, when a message ends within a word
        self._start_ms = self._end_ms = 0.0

    def pieces(self, message: _Message) -> Iterator[Samples | Word]:
        """Yield the audio and the words of a message."""
        offset_ms = 1000 * self._decoder.count / self._rate
        if message.audio:
            yield self._decoder.decode(message.audio)
        alignment = message.alignment or message.normalized_alignment
        if alignment is not None:
            yield from self._words(alignment, offset_ms)

    def end_word(self) -> Iterator[Word]:
        """Yield the word that is being collected, if there is one."""
        if self._word:
            yield Word(text=self._word, start_ms=self._start_ms, end_ms=self._end_ms)
            self._word = ""

    def _words(self, alignment: _Alignment, offset_ms: float) -> Iterator[Word]:
        starts = alignment.char_start_times_ms
        if starts and offset_ms >= CLEAR_OFFSET_MS and starts[0] >= 0.8 * offset_ms:
            # The documentation says that times count from the message; some models count from the beginning.
            offset_ms = 0.0
        for char, start, duration in zip(alignment.chars, starts, alignment.char_durations_ms, strict=False):
            if char.isspace():
                yield from self.end_word()
                continue
            if _is_word_alone(char) or _is_word_alone(self._word):
                yield from self.end_word()
            begin = max(self._end_ms, offset_ms + start)
            if not self._word:
                self._start_ms = begin
            self._word += char
            self._end_ms = max(begin, offset_ms + start + duration)


def _is_word_alone(char: str) -> bool:
    """Return whether a character is Chinese, Japanese or Thai, where spaces do not separate words."""
    return len(char) == 1 and (
        "\u0e00" <= char <= "\u0e7f" or "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff"
    )
