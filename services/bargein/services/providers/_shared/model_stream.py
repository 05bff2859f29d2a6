"""One answer of a language model, read from a stream of server-sent events. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bargein.pipeline import Usage
from bargein.services.cascade.parts import ToolRequest

from .model_error import LanguageModelError, stream_error
from .sse import EventTooLargeError, ServerEvent, SseReader

__all__ = ["AnswerStream", "Piece", "token_count", "without_none"]

Piece = str | ToolRequest | Usage
"""What an answer consists of: text, tool calls, and the usage."""


class AnswerStream:
    """The protocol of one answer: bytes to pieces. A subclass implements `on_event` and `final_pieces`.

    Args:
        source: The address or name of the model, for errors.
    """

    def __init__(self, source: str = "the model") -> None:
        self.source = source
        """The address or name of the model."""
        self.secret = ""
        """The key, which is removed from errors; empty for none."""
        self.over = False
        """Whether the server has said that the answer is complete. Later bytes are ignored."""
        self.finished = False
        """Whether the model's answer is complete. The server may still send the usage."""
        self._reader = SseReader()

    def on_event(self, event: ServerEvent) -> Iterator[Piece]:
        """Yield the pieces of one event.

        Args:
            event: One event of the stream.
        """
        raise NotImplementedError

    def final_pieces(self) -> Iterator[Piece]:
        """Yield the pieces that are only known when the answer is complete."""
        raise NotImplementedError

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces that these bytes complete. Raises `LanguageModelError`.

        Args:
            data: The next bytes of the stream, cut anywhere.
        """
        try:
            for event in self._reader.feed(data):
                yield from self._take(event)
        except EventTooLargeError as error:
            raise LanguageModelError(f"{self.source} sends {error}; ask again", kind="unreadable") from None

    def end(self) -> Iterator[Piece]:
        """Yield the last pieces: no more bytes will come. Raises `LanguageModelError` for an incomplete answer."""
        try:
            for event in self._reader.end():
                yield from self._take(event)
        except LanguageModelError as error:
            if error.kind != "unreadable":  # half an event is reported below, as an incomplete answer
                raise
        if not (self.over or self.finished):
            raise LanguageModelError(f"{self.source} has stopped within its answer; ask again", kind="cut")
        self.over = True
        yield from self.final_pieces()

    def read_body(self, body: bytes) -> Iterator[Piece]:
        """Yield the pieces of an answer that was not streamed. Raises `LanguageModelError`.

        Args:
            body: The whole answer.
        """
        yield from self._take(ServerEvent(body.decode("utf-8", "replace")))
        yield from self.end()

    def decode(self, event: ServerEvent) -> dict[str, Any]:
        """Return the JSON object of an event. Raises `LanguageModelError`.

        Args:
            event: One event of the stream.
        """
        try:
            found = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        # The data is not shown: it may hold the words of the conversation.
        message = f"{self.source} sends what cannot be read, {len(event.data)} characters of it; ask again"
        raise LanguageModelError(message, kind="unreadable")

    def error(self, error: object) -> LanguageModelError:
        """Return the exception for an error object within the stream.

        Args:
            error: The error object, decoded from JSON.
        """
        return stream_error(self.source, error, self.secret)

    def _take(self, event: ServerEvent) -> Iterator[Piece]:
        if not self.over and event.data.strip():
            yield from self.on_event(event)


def without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body without the fields that are None."""
    return {name: value for name, value in body.items() if value is not None}


def token_count(usage: Any, name: str) -> int:
    """Return a count of a usage object; 0 if it is missing or not a positive integer."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
