"""Cartesia's protocol: sentences to requests, messages to audio and words. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import Word
from bargein.services.providers._shared.remote_speech import PcmDecoder, decode_json
from bargein.services.providers._shared.voice_socket import SpeechPiece

__all__ = ["CartesiaProtocol"]


class _WordTimes(msgspec.Struct):
    """Words with the times at which they sound, in seconds."""

    words: list[str] = []
    start: list[float] = []
    end: list[float] = []


class _Message(msgspec.Struct):
    """Any message of the server."""

    type: str = ""
    context_id: str | None = None
    data: bytes | None = None
    done: bool | None = None
    word_timestamps: _WordTimes | None = None
    error: Any = None
    title: Any = None
    message: Any = None
    status_code: int | None = None


class CartesiaProtocol:
    """The protocol of one connection. Each sentence is a separate context; an ended context cannot be continued.

    Args:
        fields: Fields of every request.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        self._open: dict[str, PcmDecoder] = {}

    def begin(self, context: str, text: str) -> Sequence[str]:
        """Return the request for a sentence."""
        self._open[context] = PcmDecoder()
        return [msgspec.json.encode({**self._fields, "transcript": text, "context_id": context}).decode()]

    def cancel(self, context: str) -> Sequence[str]:
        """Return the message that cancels a sentence; none if it is complete."""
        if self._open.pop(context, None) is None:
            return []
        return [msgspec.json.encode({"context_id": context, "cancel": True}).decode()]

    def receive(self, data: str | bytes) -> SpeechPiece:
        """Return the meaning of a message. Raises `ConnectionError` for one that cannot be read."""
        message = decode_json("Cartesia", data, _Message)
        context = message.context_id
        if message.type == "error" or message.error:
            fault = ": ".join(str(each) for each in (message.error, message.title, message.message) if each)
            self._forget(context)
            fault = fault or "an error without a message"
            return SpeechPiece(context=context, fault=fault, status=message.status_code or 0)
        if context is None and len(self._open) == 1:
            (context,) = self._open  # it can belong to no other
        decoder = self._open.get(context or "")
        if decoder is None:
            return SpeechPiece(context=context or "")  # of a cancelled sentence, usually
        pieces = list(self._pieces(message, decoder))
        # Audio chunks have a field `done` as well. The end is a separate message, after the last word times.
        done = message.type == "done"
        if done:
            self._forget(context)
        return SpeechPiece(context=context, pieces=pieces, done=done)

    def _forget(self, context: str | None) -> None:
        if context is None:
            self._open.clear()
        else:
            self._open.pop(context, None)

    def _pieces(self, message: _Message, decoder: PcmDecoder) -> Iterator[Samples | Word]:
        if message.data:
            yield decoder.decode(message.data)
        if (times := message.word_timestamps) is not None:
            for word, start, end in zip(times.words, times.start, times.end, strict=False):
                yield Word(text=word, start_ms=1000 * start, end_ms=1000 * end)
