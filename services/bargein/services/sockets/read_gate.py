"""`read_in_pieces`: an asyncio protocol that parses received data in small pieces, one in each pass of the event loop.

One read returns up to 256 KiB: on uvloop, under TLS, and on asyncio by default. That is thousands of small messages,
which a protocol parses without a pause while every other connection waits. asyncio can limit the size of a read for one
kind of transport only. So this module cuts the data, for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

__all__ = ["READ_BYTES", "read_in_pieces"]

READ_BYTES: Final = 4 * 1024
"""Bytes that are parsed in one pass of the event loop: at most 700 messages."""


def read_in_pieces(base: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """Return a protocol class that gets its data in pieces.

    Args:
        base: An `asyncio.Protocol` that keeps the transport which `connection_made` gives it.
    """

    class PiecewiseProtocol(base):  # type: ignore[misc, valid-type]  # the base differs between servers
        def connection_made(self, transport: asyncio.Transport) -> None:
            self.gate = ReadGate(transport, super().data_received)
            super().connection_made(self.gate)

        def data_received(self, data: bytes) -> None:
            self.gate.take(data)

        def connection_lost(self, error: Exception | None) -> None:
            self.gate.forget()
            super().connection_lost(error)

    return PiecewiseProtocol


class ReadGate:
    """A proxy of a transport. It delivers received data in pieces, and reads no more before all of it is delivered.

    Args:
        transport: The transport. All calls that do not concern reading go to it.
        deliver: Called with each piece.
    """

    def __init__(self, transport: asyncio.Transport, deliver: Callable[[bytes], object]) -> None:
        self._transport = transport
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._paused = False  # by the protocol
        self._next: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def take(self, data: bytes) -> None:
        """Add received data."""
        self._rest += bytes(data)
        if self._next is None and not self._paused:
            self._step()

    def _step(self) -> None:
        self._next = None
        piece, self._rest = self._rest[:READ_BYTES], self._rest[READ_BYTES:]
        if self._rest:
            self._transport.pause_reading()
        self._deliver(piece)  # it may pause reading, or close the transport
        self._continue()

    def _continue(self) -> None:
        if self._paused or self._next is not None or self._transport.is_closing():
            return
        if self._rest:
            self._next = self._loop.call_soon(self._step)
        else:
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Stop delivering, as the protocol asks."""
        self._paused = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Deliver the data that waits, and then read more."""
        self._paused = False
        self._continue()

    def forget(self) -> None:
        """Discard the data that waits, because the connection is lost."""
        self._rest = b""
        if self._next is not None:
            self._next.cancel()
            self._next = None
