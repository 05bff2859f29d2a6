"""Server-sent events: bytes in pieces of any size to events. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

__all__ = ["EventTooLargeError", "ServerEvent", "SseReader"]

LARGEST = 16 * 2**20
"""Bytes of one event, at most."""
_LINE_END = re.compile(rb"\r\n|\r|\n")


class EventTooLargeError(Exception):
    """An event never ends."""


class ServerEvent(msgspec.Struct, frozen=True):
    """One event of a stream."""

    data: str
    """Its data, the lines joined by line feeds."""
    event: str = ""
    """Its name; most streams have none."""


class SseReader:
    """One stream's reader. Lines may end with LF, CR or CRLF, anywhere in the pieces; comments are skipped."""

    def __init__(self) -> None:
        self._tail = bytearray()  # the line that has not ended
        self._data: list[str] = []
        self._name = ""
        self._size = 0
        self._after_cr = False  # the last piece ended with CR; an LF that follows belongs to it
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that are complete with this piece. Raises `EventTooLargeError` for one that never ends."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        if piece:
            self._after_cr = piece.endswith(b"\r")
        first, *lines = _LINE_END.split(piece)
        self._tail += first
        for line in lines:
            yield from self._line(bytes(self._tail))
            self._tail = bytearray(line)
        if len(self._tail) + self._size > LARGEST:
            raise EventTooLargeError(f"an event of more than {LARGEST} bytes")

    def end(self) -> Iterator[ServerEvent]:
        """What was still under way when the stream ended: servers forget the last blank line."""
        yield from self._line(bytes(self._tail))
        self._tail.clear()
        yield from self._line(b"")

    def _line(self, raw: bytes) -> Iterator[ServerEvent]:
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
