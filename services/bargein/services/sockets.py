"""Message sockets: a WebSocket on either backend, or two ends of a pipe in memory, behind the same four methods."""

from __future__ import annotations

import importlib
import logging
import ssl as tls
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import anyio
import msgspec
import sniffio

from bargein.pipeline.lowlevel import import_extra

from ._retry import asked_wait

__all__ = ["Endpoint", "Socket", "SocketClosedError", "SocketRefusedError", "dial", "listen", "pipe"]

LARGEST = 16 * 2**20
"""Bytes of one message, at most: what the providers allow."""
SECRET = 8
"""So many characters of a header, at least, may be a secret."""

log = logging.getLogger("bargein.sockets")
# Below that, `websockets` writes down headers, with their keys, and every message. A level would be an opinion as well:
# who wants warnings only would be told of every connection.
log.addFilter(lambda record: record.levelno >= logging.INFO)


class SocketClosedError(ConnectionError):
    """The socket is closed, by either side."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}{f' ({reason})' if reason else ''}")
        self.code = code
        """The WebSocket's close code; 1006 when there was none."""
        self.reason = reason
        """What the peer gave as its reason."""


class SocketRefusedError(ConnectionError):
    """No socket came about: nobody answers, or what answers is no WebSocket or refuses."""

    def __init__(
        self,
        message: str,
        status: int | None = None,
        body: str = "",
        wait: float | None = None,
        *,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, if there was one."""
        self.body = body
        """What the HTTP answer said, its beginning."""
        self.wait = wait
        """For how many seconds the server asks to be left alone."""
        self.final = final
        """Another attempt would meet the same, whatever the status."""


class Socket(Protocol):
    """Whole messages, both ways. One task may send while another receives."""

    async def send(self, data: str | bytes) -> None:
        """Send a message. Raises `SocketClosedError`."""

    async def receive(self) -> str | bytes:
        """The next message. Raises `SocketClosedError` when nothing more will come."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye. Never raises; may be called again."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where to connect to, and how. Headers may hold keys, so they are never printed."""

    url: str
    headers: Mapping[str, str] = {}
    subprotocols: Sequence[str] = ()
    ssl: Any = None
    """An `ssl.SSLContext`, where the default one will not do."""
    open_seconds: float = 10.0
    """How long it may take."""
    pong_seconds: float | None = 20.0
    """How long a pong may take, before the connection counts as dead; None for as long as it likes."""

    def __repr__(self) -> str:
        return f"Endpoint({self.url.split('?')[0]})"


@asynccontextmanager
async def dial(endpoint: Endpoint) -> AsyncIterator[Socket]:
    """A WebSocket that is open while the block runs, on either backend.

    Raises `SocketRefusedError`, which says why, when none comes about.
    """
    import_extra("websockets", "websockets", "dial()")
    exceptions = importlib.import_module("websockets.exceptions")
    client = importlib.import_module(f"websockets.{sniffio.current_async_library()}.client")
    options: dict[str, Any] = {
        "additional_headers": dict(endpoint.headers),
        "subprotocols": list(endpoint.subprotocols) or None,
        "max_size": LARGEST,
        "open_timeout": endpoint.open_seconds,
        "ping_timeout": endpoint.pong_seconds,
        "close_timeout": 1,
        "compression": None,  # it costs more than it saves on base64 of noise
        "logger": log,
    }
    if endpoint.ssl is not None:
        options["ssl"] = endpoint.ssl
    async with AsyncExitStack() as stack:
        socket = _WebSocket(await _open(stack, client.connect, endpoint, options, exceptions), exceptions)
        try:
            yield socket
        finally:
            await socket.close()


async def _open(
    stack: AsyncExitStack, connect: Any, endpoint: Endpoint, options: dict[str, Any], exceptions: Any
) -> Any:
    where = repr(endpoint)
    try:
        return await stack.enter_async_context(connect(endpoint.url, **options))
    except exceptions.InvalidStatus as error:
        response = error.response
        body = _without_secrets(bytes(response.body or b"")[:1000].decode("utf-8", "replace"), endpoint)
        wait = asked_wait({name.lower(): value for name, value in response.headers.raw_items()})
        raise SocketRefusedError(f"{where} answers {response.status_code}", response.status_code, body, wait) from None
    except (exceptions.InvalidHandshake, exceptions.InvalidURI) as error:
        raise SocketRefusedError(f"{where} is no WebSocket: {error}") from None
    except TimeoutError:
        raise SocketRefusedError(f"{where} does not answer within {endpoint.open_seconds:g} s") from None
    except tls.SSLError as error:
        raise SocketRefusedError(f"{where}: {error}") from None
    except (OSError, EOFError) as error:
        raise SocketRefusedError(f"{where} cannot be reached: {error}") from None
    except importlib.import_module("trio").BrokenResourceError as error:  # what trio makes of the last two
        raise SocketRefusedError(f"{where}: {error.__cause__ or 'the connection broke'}") from None


def _without_secrets(text: str, endpoint: Endpoint) -> str:
    """What a server says, if it repeats what it was sent."""
    for part in " ".join(endpoint.headers.values()).split():
        if len(part) >= SECRET:
            text = text.replace(part, "***")
    return text


@asynccontextmanager
async def listen(
    handler: Callable[[Socket, Any], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    process_request: Callable[[Any, Any], Any] | None = None,
    **options: Any,
) -> AsyncIterator[int]:
    """Serve WebSockets while the block runs; gives the port. `port=0` takes a free one.

    `handler` gets the socket and the HTTP request, and the socket is closed when it returns. `process_request` and the
    other options are those of `websockets`' `serve`.
    """
    import_extra("websockets", "websockets", "listen()")
    exceptions = importlib.import_module("websockets.exceptions")
    backend = sniffio.current_async_library()
    server = importlib.import_module(f"websockets.{backend}.server")

    async def handle(connection: Any) -> None:
        await handler(_WebSocket(connection, exceptions), connection.request)

    options = {
        "max_size": LARGEST,
        "compression": None,
        "close_timeout": 1,
        "logger": log,
        "process_request": process_request,
        **options,
    }
    if backend == "asyncio":
        async with server.serve(handle, host, port, **options) as running:
            yield running.sockets[0].getsockname()[1]
        return
    try:
        async with anyio.create_task_group() as group:

            async def serve(*, task_status: anyio.abc.TaskStatus[Any]) -> None:
                await server.serve(handle, port, host=host, task_status=task_status, **options)

            running = await group.start(serve)
            yield running.listeners[0].socket.getsockname()[1]
            group.cancel_scope.cancel()
    except BaseExceptionGroup as error:  # the same exceptions as on asyncio: who listens did not ask for a group
        if len(error.exceptions) > 1:
            raise
        raise error.exceptions[0] from None


class _WebSocket:
    """A connection of `websockets`, asyncio's or trio's: they have the same methods."""

    def __init__(self, connection: Any, exceptions: Any) -> None:
        self._connection = connection
        self._closed = exceptions.ConnectionClosed
        self._close = getattr(connection, "aclose", None) or connection.close

    @property
    def address(self) -> str:
        """Where the other end is."""
        address = self._connection.remote_address
        return ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address or "")

    async def send(self, data: str | bytes) -> None:
        try:
            await self._connection.send(data)
        except self._closed as error:
            raise _reason(error) from None

    async def receive(self) -> str | bytes:
        try:
            data: str | bytes = await self._connection.recv()
        except self._closed as error:
            raise _reason(error) from None
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(2):
            await self._close(code, reason.encode()[:120].decode("utf-8", "ignore"))


def _reason(error: Any) -> SocketClosedError:
    close = error.rcvd or error.sent
    return SocketClosedError(close.code if close else 1006, close.reason if close else "")


class _Pipe:
    """One end of a pipe in memory."""

    def __init__(self, capacity: int) -> None:
        self.peer: _Pipe
        self.inbox: deque[str | bytes] = deque()
        self.capacity = capacity
        self.closed: tuple[int, str] | None = None
        self.changed = anyio.Event()

    def wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def send(self, data: str | bytes) -> None:
        await anyio.lowlevel.checkpoint()
        while self.closed is None and len(self.peer.inbox) >= self.capacity:
            await self.peer.changed.wait()
        if self.closed is not None:
            raise SocketClosedError(*self.closed)
        self.peer.inbox.append(data)
        self.peer.wake()

    async def receive(self) -> str | bytes:
        await anyio.lowlevel.checkpoint()
        while not self.inbox:
            if self.closed is not None:
                raise SocketClosedError(*self.closed)
            await self.changed.wait()
        data = self.inbox.popleft()
        self.wake()
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        for end in (self, self.peer):
            end.closed = end.closed or (code, reason)
            end.wake()


def pipe(capacity: int = 64) -> tuple[Socket, Socket]:
    """Two sockets that are connected with each other, in memory: for tests, and for a server in the same process."""
    one, other = _Pipe(capacity), _Pipe(capacity)
    one.peer, other.peer = other, one
    return one, other
