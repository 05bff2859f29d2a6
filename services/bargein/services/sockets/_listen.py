"""Serving WebSockets."""

from __future__ import annotations

import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import sniffio

from ._server_connection import bounded_connection, fair_connection
from ._websocket import MAX_BYTES, WebSocket, import_websockets, log
from .descriptors import BACKLOG, default_accept_batch, default_max_connections
from .handshake import OpeningConnection
from .socket import Socket

if TYPE_CHECKING:  # websockets is an optional dependency
    from websockets.http11 import Request, Response

    Refusal = Response | None

__all__ = ["listen"]


@asynccontextmanager
async def listen(
    handler: Callable[[Socket, Request], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    process_request: Callable[[OpeningConnection, Request], Refusal | Awaitable[Refusal]] | None = None,
    **options: object,
) -> AsyncIterator[int]:
    """Serve WebSockets for the time of the block, on asyncio or trio. The block gets the port.

    Args:
        handler: Called for each connection with its socket and its HTTP request (`websockets.http11.Request`). The
            socket is closed when the handler returns.
        host: Address to listen at; the default is this machine only.
        port: Port to listen at; 0 takes a free one.
        process_request: Called with the connection and the HTTP request before the WebSocket opens. It returns an HTTP
            response to refuse the connection, or None to accept it.
        options: Further options of `websockets`' `serve`.
    """
    server, exceptions = import_websockets("server", "listen()")

    async def handle(connection: Any) -> None:
        await handler(WebSocket(connection, exceptions), connection.request)

    options = {
        "max_size": MAX_BYTES,
        "compression": None,  # it costs more than it saves on base64 of noise
        "close_timeout": 1,
        "logger": log,
        "process_request": process_request,
        "create_connection": bounded_connection(fair_connection(server.ServerConnection), default_max_connections()),
        **options,
    }
    if sniffio.current_async_library() == "asyncio":
        async with server.serve(handle, host, port, backlog=default_accept_batch(), **options) as running:
            for each in running.sockets:
                _set_backlog(each)
            yield running.sockets[0].getsockname()[1]
        return
    try:
        async with anyio.create_task_group() as group:

            async def serve(*, task_status: anyio.abc.TaskStatus[Any]) -> None:
                await server.serve(handle, port, host=host, backlog=BACKLOG, task_status=task_status, **options)

            running = await group.start(serve)
            yield running.listeners[0].socket.getsockname()[1]
            group.cancel_scope.cancel()
    except BaseExceptionGroup as error:  # raise a single exception without its group, as on asyncio
        if len(error.exceptions) > 1:
            raise
        raise error.exceptions[0] from None


def _set_backlog(listening: Any) -> None:
    """Let many connections wait. asyncio's `backlog` also sets how many it accepts at once, so it cannot be used
    here."""
    with sockets.fromfd(listening.fileno(), listening.family, listening.type) as copy:  # asyncio's has no `listen`
        copy.listen(BACKLOG)
