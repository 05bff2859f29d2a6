"""`AsgiSocket`: a WebSocket of the HTTP server as a `Socket`."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from bargein.services.sockets import SocketClosedError

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

__all__ = ["AsgiSocket"]


class AsgiSocket:
    """A `Socket` over a Starlette `WebSocket` that has been accepted.

    Args:
        websocket: The accepted WebSocket.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._closed: tuple[int, str] | None = None
        disconnect = importlib.import_module("starlette.websockets").WebSocketDisconnect
        # What Starlette and uvicorn raise when the peer is gone; which of them depends on their versions.
        self._gone = (RuntimeError, OSError, disconnect)

    async def send(self, data: str | bytes) -> None:
        """Send a message. Raises `SocketClosedError`."""
        if self._closed is not None:
            raise SocketClosedError(*self._closed)
        kind = "bytes" if isinstance(data, bytes) else "text"
        try:
            await self._websocket.send({"type": "websocket.send", kind: data})
        except self._gone as error:
            self._closed = self._closed or (1006, str(error))
            raise SocketClosedError(*self._closed) from None

    async def receive(self) -> str | bytes:
        """Return the next message. Raises `SocketClosedError` when no more will come."""
        if self._closed is not None:
            raise SocketClosedError(*self._closed)
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            self._closed = (message.get("code") or 1006, message.get("reason") or "")
            raise SocketClosedError(*self._closed)
        data: str | bytes | None = message.get("bytes")
        return message.get("text", "") if data is None else data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket. It never raises, and may be called again."""
        if self._closed is not None:
            return
        self._closed = (code, reason)
        with anyio.CancelScope(shield=True), anyio.move_on_after(2), suppress(*self._gone):
            # A close frame holds at most 123 bytes of reason.
            await self._websocket.close(code, reason.encode()[:120].decode("utf-8", "ignore"))
