"""WebSockets: a server with a session for each peer, and one peer whom somebody else accepted.

::

    async with serve_websocket(lambda peer: Pipeline(peer.source, brain(), Spoken(), peer.sink)) as server:
        print(server.url)
        await drain_on_signal(server.sessions)

What is on the wire is told in `docs/transports.md`. A peer's first message is `start`; the agent's is `ready`.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio

from bargein.pipeline import Graph
from bargein.services import sockets
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.transports import control
from bargein.services.transports._socket_transport import Message, SocketTransport
from bargein.services.transports.control import ControlError, Start
from bargein.services.transports.origin import foreign, is_loopback
from bargein.services.transports.sessions import Ending, RefusedError, SessionLimits, Sessions
from bargein.services.transports.transport import Peer, Transport

from ._wire import CHANNELS, RATES, AgentWire

log = logging.getLogger("bargein.sessions")

__all__ = [
    "Accept",
    "Authorize",
    "ConnectionRequest",
    "WebSocketServer",
    "accept_websocket",
    "serve_websocket",
    "serve_websocket_peer",
]

Authorize = Callable[[str], bool | Awaitable[bool]]
"""Whether whoever gives this token, or none (""), may come in. Sync or async."""
_numbers = itertools.count(1)


class ConnectionRequest:
    """Who knocks, as far as the request tells."""

    def __init__(
        self,
        *,
        name: str = "",
        address: str = "",
        path: str = "/",
        wishes: Mapping[str, str] | None = None,
        limits: SessionLimits | None = None,
        authorize: Authorize | None = None,
    ) -> None:
        self.name = name or f"websocket-{next(_numbers)}"
        """What the peer will be called."""
        self.address = address
        """Where it is."""
        self.path = path
        """What it asked for."""
        self.wishes = dict(wishes or {})
        """The parameters of the address it asked for."""
        self.limits = limits or SessionLimits()
        """What is allowed."""
        self.authorize = authorize
        """Who may come in; None where that has been settled, or everybody may."""

    def __repr__(self) -> str:
        return f"Visit({self.name}{f', {self.address}' if self.address else ''})"  # wishes may hold a token


Accept = Callable[[Socket, ConnectionRequest], Awaitable[SocketTransport]]
"""Hears what a peer says first, and makes its transport. Raises `RefusedError`, once the peer has been told."""


# A peer ---------------------------------------------------------------------------------------------------------------


async def accept_websocket(socket: Socket, visit: ConnectionRequest) -> SocketTransport:
    """The transport of a peer that says `start`, within `open_seconds`.

    Its sound comes at the rate and in the channels that each message says; the agent's goes at the agent's own rate,
    or at the one that the peer asked for (which takes PyAV, extra `audio`).

    Raises `RefusedError` when it says anything else, or its token will not do; the peer has been told, and the socket
    is closed.
    """
    start: Start | None = None
    try:
        with anyio.move_on_after(visit.limits.open_seconds):
            start = _started(await socket.receive())
        if start is None:
            raise ControlError(f"this is no start: nothing came for {visit.limits.open_seconds:g} s", "too_late")
        if visit.authorize is not None and not await allowed(visit.authorize, start.token):
            raise ControlError("this token will not do; give the right one, in `start` or as a bearer", "unauthorized")
    except SocketClosedError as error:
        raise RefusedError(f"{visit!r} left before it had started: {error}") from None
    except ControlError as error:
        await _refuse(socket, control.fault(error), 1008, str(error))
        raise RefusedError(f"{visit!r} was refused: {error}") from None
    peer = Peer(name=visit.name, address=visit.address, params=visit.wishes | dict(start.wishes))
    output = (start.output_rate, 1) if start.output_rate else None
    try:
        transport = SocketTransport(socket, AgentWire(), peer, limits=visit.limits, output=output)
    except ModuleNotFoundError as error:  # who serves is told what to install, and who comes what to do without
        fault = ControlError("this agent cannot change the rate of its sound; ask for output_rate 0", "unsupported")
        await _refuse(socket, control.fault(fault), 1011, str(fault))
        log.error("%s: output_rate %d: %s", visit.name, start.output_rate, error)
        raise RefusedError(f"{visit!r} was refused: {error}") from None
    transport.write(control.ready(peer.name, start.output_rate))
    return transport


def _started(data: Message) -> Start:
    message = control.decode(data) if isinstance(data, str) else None
    if not isinstance(message, Start):
        raise ControlError('this is no start; the first message is {"type": "start", "rate": 16000}', "not_started")
    if not (RATES[0] <= message.rate <= RATES[1] and 1 <= message.channels <= CHANNELS):
        raise ControlError(f"this is no start: {message.channels} channels at {message.rate} Hz")
    if message.output_rate and not RATES[0] <= message.output_rate <= RATES[1]:
        raise ControlError(f"this is no start: output_rate is {message.output_rate} Hz")
    return message


async def allowed(authorize: Authorize, token: str) -> bool:
    """What the hook says."""
    answer = authorize(token)
    return bool(await answer if inspect.isawaitable(answer) else answer)


async def _refuse(socket: Socket, message: Message, code: int, reason: str) -> None:
    with anyio.move_on_after(1), suppress(SocketClosedError):
        await socket.send(message)
    await socket.close(code, reason)


async def serve_websocket_peer(
    socket: Socket, sessions: Sessions, visit: ConnectionRequest | None = None, *, accept: Accept = accept_websocket
) -> Ending | None:
    """Serve one peer whom somebody else accepted, until its session has ended; None if it got none.

    `socket` is anything with `send`, `receive` and `close` as in `bargein.services.sockets.Socket`. The socket is
    closed when this returns, with a last message that says why.
    """
    transport: SocketTransport | None = None
    try:
        transport = await accept(socket, visit or ConnectionRequest(limits=sessions.limits))
        ending = await sessions.run(transport)
    except RefusedError as error:
        if transport is not None:
            await transport.dismiss(1013, str(error))
        return None
    except Exception:
        await socket.close(1011, "the server failed")
        raise
    except BaseException:
        await socket.close(1001, "the server is going away")
        raise
    await transport.farewell(ending)
    return ending


def lobby(sessions: Sessions, accept: Accept) -> Accept:
    """The same door with room for so many as there may be sessions: who has not said yet what it wants has none."""
    waiting = 0

    async def within(socket: Socket, visit: ConnectionRequest) -> SocketTransport:
        nonlocal waiting
        if waiting >= sessions.limits.sessions:
            await socket.close(1013, "too many are waiting to be heard; try again later")
            raise RefusedError(f"{visit!r} was refused: {waiting} others had not said yet what they want")
        waiting += 1
        try:
            return await accept(socket, visit)
        finally:
            waiting -= 1

    return within


# The server -----------------------------------------------------------------------------------------------------------


class WebSocketServer:
    """A server that runs: what `serve_websocket` gives."""

    def __init__(self, sessions: Sessions, host: str, secure: bool) -> None:
        self.sessions = sessions
        """Who is there; `drain()` ends them."""
        self.port = 0
        """Where it listens."""
        self._host = f"[{host}]" if ":" in host else host
        self._scheme = "wss" if secure else "ws"

    @property
    def url(self) -> str:
        """For clients on the same machine."""
        return f"{self._scheme}://{self._host}:{self.port}"

    def __repr__(self) -> str:
        return f"<WebSocketServer {self.url}, {self.sessions.statistics().open} open>"


@asynccontextmanager
async def serve_websocket(
    build: Callable[[Transport], Graph] | Sessions,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    paths: Mapping[str, Accept] | None = None,
    limits: SessionLimits | None = None,
    authorize: Authorize | None = None,
    origins: Collection[str] | None = None,
    ssl: Any = None,
) -> AsyncIterator[WebSocketServer]:
    """Serve peers while the block runs, on asyncio or trio; `port=0` takes a free one.

    `build(transport)` makes the graph for each peer; or give `Sessions` that several servers share, with limits of
    their own. `paths`: what is spoken where; by default `accept_websocket` at `/`. `authorize`: who may come in, by
    the bearer token of the `Authorization` header or, where there is none (browsers cannot set it), of `start`.
    `origins`: whose pages may connect, such as `https://example.com`, besides this server's own; `*` for all. A
    program sends no origin, and may. `ssl`: an `ssl.SSLContext`.

    Leaving the block ends all sessions; to let them finish first, `await server.sessions.drain()`.

    Raises `ModuleNotFoundError` without websockets, `ValueError` for a path that is none, and `OSError` when the port
    is taken.
    """
    sessions = build if isinstance(build, Sessions) else Sessions(build, limits=limits)
    server = WebSocketServer(sessions, host, ssl is not None)
    doors = dict(paths) if paths is not None else {"/": accept_websocket}
    for each in doors:
        if not each.startswith("/") or each != (each.rstrip("/") or "/"):
            raise ValueError(f"serve_websocket(paths={each!r}): expected a path as in an address, such as '/twilio'")

    async def check(connection: Any, request: Any) -> Any:
        if _path(request) not in doors:
            return _answer(404, "Not Found", f"Nothing is spoken at {_path(request)}.")
        origin, name = request.headers.get("Origin"), request.headers.get("Host", "")
        if why := foreign(origin, name, origins or (), local=is_loopback(host)):
            return _answer(403, "Forbidden", why)
        token = bearer(request.headers.get("Authorization", ""))
        if authorize is not None and token and not await allowed(authorize, token):
            return _answer(401, "Unauthorized", "This token will not do.")
        try:
            sessions.admit()
        except RefusedError as error:
            return _answer(503, "Service Unavailable", str(error))
        return None

    accept = lobby(sessions, lambda socket, visit: doors[visit.path](socket, visit))

    async def handle(socket: Socket, request: Any) -> None:
        settled = authorize is None or bearer(request.headers.get("Authorization", ""))
        visit = ConnectionRequest(
            address=getattr(socket, "address", ""),
            path=_path(request),
            wishes=dict(parse_qsl(urlsplit(request.path).query)),
            limits=sessions.limits,
            authorize=None if settled else authorize,
        )
        await serve_websocket_peer(socket, sessions, visit, accept=accept)

    options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
    async with sockets.listen(
        handle,
        host=host,
        port=port,
        process_request=check,
        max_size=sessions.limits.message_bytes,
        open_timeout=sessions.limits.open_seconds,
        **options,
    ) as server.port:
        yield server


def bearer(header: str) -> str:
    """The token of an `Authorization` header; empty if there is none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _path(request: Any) -> str:
    return urlsplit(request.path).path.rstrip("/") or "/"


def _answer(status: int, phrase: str, text: str) -> Any:
    body = text.encode()
    headers = importlib.import_module("websockets.datastructures").Headers(
        {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
    )
    return importlib.import_module("websockets.http11").Response(status, phrase, headers, body)
