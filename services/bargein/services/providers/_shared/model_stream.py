"""One answer of a language model, read from a stream of server-sent events. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bargein.pipeline import Usage
from bargein.services.cascade.parts import ToolRequest

from .model_error import LanguageModelError
from .sse import EventTooLargeError, ServerEvent, SseReader

__all__ = ["AnswerStream", "Piece", "leave_out"]

Piece = str | ToolRequest | Usage


class AnswerStream:
    """One answer's protocol: bytes to pieces. A subclass says what an event means, and what comes last."""

    def __init__(self, who: str = "the model") -> None:
        self.who = who
        """Who answers, for errors."""
        self.over = False
        """The answer is complete, and the server has said so."""
        self.finished = False
        """The model has said all, though more about it may follow."""
        self._reader = SseReader()

    def event(self, event: ServerEvent) -> Iterator[Piece]:
        """The pieces of one event."""
        raise NotImplementedError

    def last(self) -> Iterator[Piece]:
        """The pieces that wait for the answer to be complete."""
        raise NotImplementedError

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that are complete with these bytes. Raises `LanguageModelError`."""
        try:
            for event in self._reader.feed(data):
                yield from self._take(event)
        except EventTooLargeError as error:
            raise LanguageModelError(f"{self.who} sends {error}; ask again", kind="unreadable") from None

    def end(self) -> Iterator[Piece]:
        """The last pieces: no more bytes will come. Raises `LanguageModelError` for an answer that was cut."""
        try:
            for event in self._reader.end():
                yield from self._take(event)
        except LanguageModelError as error:
            if error.kind != "unreadable":  # half an event is no fault of its own
                raise
        if not (self.over or self.finished):
            raise LanguageModelError(f"{self.who} has stopped within its answer; ask again", kind="cut")
        self.over = True
        yield from self.last()

    def whole(self, body: bytes) -> Iterator[Piece]:
        """The pieces of an answer that was not streamed. Raises `LanguageModelError`."""
        yield from self._take(ServerEvent(body.decode("utf-8", "replace")))
        yield from self.end()

    def decoded(self, event: ServerEvent) -> dict[str, Any]:
        """An event's JSON object. Raises `LanguageModelError`."""
        try:
            found = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        message = f"{self.who} sends what cannot be read: {event.data[:100]!r}; ask again"
        raise LanguageModelError(message, kind="unreadable")

    def _take(self, event: ServerEvent) -> Iterator[Piece]:
        if not self.over and event.data.strip():
            yield from self.event(event)


def leave_out(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without what is None."""
    return {name: value for name, value in body.items() if value is not None}
