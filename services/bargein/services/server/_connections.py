"""Limits of HTTP connections and WebSockets: the time for a request's head, the number of open connections, and the
amount of data that is read from one connection at once.

uvicorn has none of these limits. A connection that sends nothing, or one byte now and then, stays open for ever. When
the process has no descriptors left, asyncio writes one log line for each connection that waits, and serves no client.
All messages of one read are parsed without a pause, so one client can block the others. All pings are answered, however
many come.

The first class below extends `uvicorn.protocols.http.h11_impl.H11Protocol` and relies on its attributes `connections`,
`cycle.response_complete`, `loop` and `transport` and its method `handle_websocket_upgrade`. They are there in uvicorn
0.35 to 0.54; `tests/services/server/test_connections.py` fails when silent connections are no longer closed. The second
one extends `WebSocketsSansIOProtocol` of the same versions and relies on its `handle_ping`, `handle_pong`,
`handle_parser_exception`, `conn`, `close_sent` and `handshake_complete`; `tests/attacks` fails when pings are no longer
counted.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from bargein.pipeline.lowlevel import import_extra
from bargein.services.sockets.rate_limiter import TOO_MANY_PINGS, control_rate
from bargein.services.sockets.read_gate import read_in_pieces

__all__ = ["make_protocol", "make_websocket_protocol"]

CLOSE_SECONDS = 1.0
"""How long a client may take to answer the end of a WebSocket, in seconds."""


def make_protocol(*, head_seconds: float, max_connections: int) -> type[asyncio.Protocol]:
    """Return the protocol class of a server, for `uvicorn.Config(http=...)`.

    Args:
        head_seconds: Longest time from a connection, or from the first byte of another request on it, to the end of the
            request's head.
        max_connections: Connections that may be open. When one more comes, the one that has waited longest for the end
            of a head is closed; if there is none, the new one is.
    """
    import_extra("uvicorn", "server", "serve_page()")
    base: Any = importlib.import_module("uvicorn.protocols.http.h11_impl").H11Protocol
    waiting: dict[Any, asyncio.TimerHandle] = {}  # connections whose request has no complete head, the oldest first

    class BoundedProtocol(base):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                oldest = next(iter(waiting), self)
                oldest.stop_waiting()
                oldest.connections.discard(oldest)
                oldest.transport.abort()
            if not transport.is_closing():
                self.wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self.stop_waiting()
            elif self not in waiting and self.transport.get_protocol() is self:
                self.wait_for_head()

        def handle_websocket_upgrade(self, event: Any) -> None:
            self.stop_waiting()
            super().handle_websocket_upgrade(event)

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_waiting()
            super().connection_lost(exc)

        def wait_for_head(self) -> None:
            waiting[self] = self.loop.call_later(head_seconds, self.transport.abort)

        def stop_waiting(self) -> None:
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

    return BoundedProtocol


def make_websocket_protocol() -> type[asyncio.Protocol]:
    """Return the protocol class of a server's WebSockets, for `uvicorn.Config(ws=...)`."""
    import_extra("uvicorn", "server", "serve_page()")
    module: Any = importlib.import_module("uvicorn.protocols.websockets.websockets_sansio_impl")

    class FairWebSocket(read_in_pieces(module.WebSocketsSansIOProtocol)):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.close_timeout = CLOSE_SECONDS  # uvicorn's is 10 s, for which a stranger could hold a closed connection
            self.controls = control_rate()
            self.failed = False

        def handle_ping(self, *event: Any) -> None:
            if not self.exceeds_rate():
                super().handle_ping(*event)

        def handle_pong(self, *event: Any) -> None:
            if not self.exceeds_rate():
                super().handle_pong(*event)

        async def send(self, message: Any) -> None:
            await super().send(message)
            if self.close_sent:  # otherwise uvicorn logs an error for each client that the application refuses
                self.handshake_complete = True

        def exceeds_rate(self) -> bool:
            """Count a ping or a pong. Return whether the connection is being closed for too many of them."""
            if not self.failed and self.controls.take(self.loop.time()):
                self.failed = True
                self.conn.fail(*TOO_MANY_PINGS)
                self.handle_parser_exception()
            return self.failed

    return FairWebSocket
