"""A connection of the `websockets` library as a `Socket`, on asyncio or trio."""

from __future__ import annotations

import importlib
import logging
from email.utils import parsedate_to_datetime
from typing import Any, Final

import anyio
import sniffio

from bargein.pipeline.lowlevel import import_extra

from .socket import SocketClosedError

__all__ = ["MAX_BYTES", "WebSocket", "import_websockets", "log"]

MAX_BYTES: Final = 16 * 2**20
"""Maximum size of one message, in bytes. Providers allow up to this size."""

CLOSE_SECONDS: Final = 2.0
"""Maximum time that closing may take, in seconds."""

log = logging.getLogger("bargein.sockets")
# At DEBUG, `websockets` logs headers, with their keys, and every message. A filter drops these records. Setting the
# logger's level instead would override the application's choice.
log.addFilter(lambda record: record.levelno >= logging.INFO)


def import_websockets(module: str, user: str) -> tuple[Any, Any]:
    """Return `websockets`' `client` or `server` module for the running backend, and its exceptions.

    They are imported on use: the library is an extra, and it has one implementation for asyncio and one for trio.

    Args:
        module: `client` or `server`.
        user: The function that needs the library, for the error message where the extra is missing.
    """
    import_extra("websockets", "websockets", user)
    backend = sniffio.current_async_library()
    return (
        importlib.import_module(f"websockets.{backend}.{module}"),
        importlib.import_module("websockets.exceptions"),
    )


class WebSocket:
    """A WebSocket connection.

    Args:
        connection: A connection of `websockets`, for asyncio or trio. Both have the same methods, except `close`, which
            trio's calls `aclose`.
        exceptions: The module `websockets.exceptions`.
    """

    def __init__(self, connection: Any, exceptions: Any) -> None:
        self._connection = connection
        self._closed = exceptions.ConnectionClosed
        self._close = getattr(connection, "aclose", None) or connection.close

    @property
    def address(self) -> str:
        """Address of the other end, as `host:port`; empty if unknown."""
        address = self._connection.remote_address
        return ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address or "")

    @property
    def server_time(self) -> float | None:
        """The server's clock at the opening, in seconds since 1970; None if its answer has no readable `Date`."""
        response = self._connection.response  # on the side of the server, this is its own answer
        try:
            return parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (AttributeError, LookupError, TypeError, ValueError):
            return None

    async def send(self, data: str | bytes) -> None:
        try:
            await self._connection.send(data)
        except self._closed as error:
            raise closed_error(error) from None

    async def receive(self) -> str | bytes:
        try:
            data: str | bytes = await self._connection.recv()
        except self._closed as error:
            raise closed_error(error) from None
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        # Shielded, so that a task that is being cancelled still sends its close frame. The time is limited.
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
            await self._close(code, reason.encode()[:120].decode("utf-8", "ignore"))


def closed_error(error: Any) -> SocketClosedError:
    """Return the `SocketClosedError` for a `ConnectionClosed` of `websockets`."""
    close = error.rcvd or error.sent
    return SocketClosedError(close.code if close else 1006, close.reason if close else "")
