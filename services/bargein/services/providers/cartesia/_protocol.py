"""Cartesia's protocol: sentences to requests, messages to sound and words. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bargein.services.cascade.parts import Samples, Word
from bargein.services.providers._shared.remote_socket import Pcm, read
from bargein.services.providers._shared.voice_protocol import SpeechPiece

__all__ = ["CartesiaProtocol"]


class _Times(msgspec.Struct):
    """When each word sounds, in seconds."""

    words: list[str] = []
    start: list[float] = []
    end: list[float] = []


class _Message(msgspec.Struct):
    """Whatever the server may say."""

    type: str = ""
    context_id: str | None = None
    data: bytes | None = None
    done: bool | None = None
    word_timestamps: _Times | None = None
    error: Any = None
    title: Any = None
    message: Any = None
    status_code: int | None = None


class CartesiaProtocol:
    """One connection, with a context for each sentence: one that has ended cannot be gone on with."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        self._open: dict[str, Pcm] = {}

    def begin(self, context: str, text: str) -> Sequence[str]:
        """One request."""
        self._open[context] = Pcm()
        return [msgspec.json.encode({**self._fields, "transcript": text, "context_id": context}).decode()]

    def cancel(self, context: str) -> Sequence[str]:
        """One message, if the sentence is not over."""
        if self._open.pop(context, None) is None:
            return []
        return [msgspec.json.encode({"context_id": context, "cancel": True}).decode()]

    def receive(self, data: str | bytes) -> SpeechPiece:
        """What a message says. Raises `ConnectionError` for nonsense."""
        message = read("Cartesia", data, _Message)
        context = message.context_id
        if message.type == "error" or message.error:
            said = ": ".join(str(each) for each in (message.error, message.title, message.message) if each)
            self._forget(context)
            return SpeechPiece(context=context, fault=said or repr(data[:60]), status=message.status_code or 0)
        if context is None and len(self._open) == 1:
            (context,) = self._open  # it can be of no other
        pcm = self._open.get(context or "")
        if pcm is None:
            return SpeechPiece(context=context or "")  # what has been called off, perhaps
        pieces = list(self._pieces(message, pcm))
        # A chunk, too, has the field `done`; the end is a message of its own, after the last times.
        done = message.type == "done"
        if done:
            self._forget(context)
        return SpeechPiece(context=context, pieces=pieces, done=done)

    def _forget(self, context: str | None) -> None:
        if context is None:
            self._open.clear()
        else:
            self._open.pop(context, None)

    def _pieces(self, message: _Message, pcm: Pcm) -> Iterator[Samples | Word]:
        if message.data:
            yield pcm.samples(message.data)
        if (times := message.word_timestamps) is not None:
            for word, start, end in zip(times.words, times.start, times.end, strict=False):
                yield Word(text=word, start_ms=1000 * start, end_ms=1000 * end)
