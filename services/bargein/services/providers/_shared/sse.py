"""A parser for server-sent events: bytes in pieces of any size become events. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

__all__ = ["EventTooLargeError", "ServerEvent", "SseReader"]

MAX_EVENT_BYTES = 16 * 2**20
_LINE_END = re.compile(rb"\r\n|\r|\n")


class EventTooLargeError(Exception):
    """An event has more bytes than can be sensible."""


class ServerEvent(msgspec.Struct, frozen=True):
    """One event of a stream."""

    data: str
    """Its data, the lines joined by line feeds."""
    event: str = ""
    """Its name; most streams give none."""


class SseReader:
    """The parser of one stream.

    Lines end with LF, CR or CRLF, wherever the pieces are cut. Comments and unknown fields are skipped.
    """

    def __init__(self) -> None:
        self._tail = bytearray()  # the line that has not ended
        self._data: list[str] = []
        self._name = ""
        self._size = 0
        self._after_cr = False  # the last piece ended with CR, so an LF that follows belongs to that line end
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """Yield the events that this piece completes. Raises `EventTooLargeError`."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        if piece:
            self._after_cr = piece.endswith(b"\r")
        first, *lines = _LINE_END.split(piece)
        self._tail += first
        for line in lines:
            yield from self._read_line(bytes(self._tail))
            self._tail = bytearray(line)
        if len(self._tail) + self._size > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of more than {MAX_EVENT_BYTES} bytes")

    def end(self) -> Iterator[ServerEvent]:
        """Yield the event that was incomplete when the stream ended. Some servers omit the last blank line."""
        yield from self._read_line(bytes(self._tail))
        self._tail.clear()
        yield from self._read_line(b"")

    def _read_line(self, raw: bytes) -> Iterator[ServerEvent]:
        if not self._begun:
            self._begun = True
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if not raw:
            if self._data:
                yield ServerEvent("\n".join(self._data), self._name)
            self._data, self._name, self._size = [], "", 0
            return
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(raw)
        elif name == "event":
            self._name = value
