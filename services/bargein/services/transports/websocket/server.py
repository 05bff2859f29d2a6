"""A WebSocket server that runs a session for each peer::

    async with serve_websocket(lambda peer: Pipeline(peer.source, brain(), Spoken(), peer.sink)) as server:
        print(server.url)
        await drain_on_signal(server.sessions)

`docs/guides/transports.md` describes the messages on the wire.
"""

from __future__ import annotations

import ssl as tls
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bargein.pipeline.lowlevel import check_options
from bargein.services import sockets
from bargein.services.media.preload import preload_libraries
from bargein.services.sockets import Socket
from bargein.services.sockets.addresses import is_loopback_host
from bargein.services.sockets.handshake import bearer_token, http_response, refuse_origin, repeated_header, request_path
from bargein.services.transports.message_socket import SocketTransport
from bargein.services.transports.sessions import BuildAgent, RefusedError, SessionLimits, Sessions

from .accept import (
    Accept,
    Authorize,
    ConnectionRequest,
    accept_websocket,
    is_authorized,
    limit_waiting,
    serve_websocket_peer,
)

__all__ = ["WebSocketServer", "serve_websocket"]


class WebSocketServer:
    """A running server, as `serve_websocket` yields it.

    Args:
        sessions: The sessions of its peers.
        host: The host at which it listens.
        secure: Whether it is served with TLS.
    """

    @check_options
    def __init__(self, sessions: Sessions, host: str, *, secure: bool) -> None:
        self.sessions = sessions
        """The sessions of its peers; `drain()` ends them."""
        self.port = 0
        """The port at which it listens."""
        self._host = f"[{host}]" if ":" in host else host
        self._scheme = "wss" if secure else "ws"

    @property
    def url(self) -> str:
        """The URL for clients on the same machine."""
        return f"{self._scheme}://{self._host}:{self.port}"

    def __repr__(self) -> str:
        return f"<WebSocketServer {self.url}, {self.sessions.statistics().open} open>"


@asynccontextmanager
async def serve_websocket(
    agent: BuildAgent | Sessions,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    paths: Mapping[str, Accept] | None = None,
    limits: SessionLimits | None = None,
    authorize: Authorize | None = None,
    origins: Collection[str] | None = None,
    ssl: tls.SSLContext | None = None,
) -> AsyncIterator[WebSocketServer]:
    """Serve peers while the block runs, on asyncio or trio.

    Leaving the block cancels all sessions. To let them finish first, `await server.sessions.drain()`.

    Args:
        agent: Makes the graph for each peer. Or `Sessions`, which several servers may share.
        host: Where to listen.
        port: The port; 0 for a free one.
        paths: The function that accepts the peers of each path, such as `{"/twilio": accept_twilio}`. Default:
            `accept_websocket` at `/`.
        limits: Limits of the server and of each peer; not with `Sessions`, which have their own.
        authorize: Decides by a token whether a peer may connect. The token is the bearer token of the `Authorization`
            header, or where there is none (browsers cannot set it) the `token` of the first message.
        origins: Web pages that may connect besides this server's own, such as `https://example.com`; `*` for all.
            Programs send no origin, and may connect.
        ssl: The TLS context for `wss`; None for no encryption.

    Raises:
        ModuleNotFoundError: websockets is not installed.
        ValueError: A path does not begin with `/`, or ends with one.
        OSError: The port is taken.
    """
    # Peers of this machine are the developer. Behind a proxy they are not; but then the proxy's page is in `origins`.
    show_errors = is_loopback_host(host) and not origins and authorize is None
    sessions = agent if isinstance(agent, Sessions) else Sessions(agent, limits=limits, show_errors=show_errors)
    server = WebSocketServer(sessions, host, secure=ssl is not None)
    accepts = dict(paths) if paths is not None else {"/": accept_websocket}
    for path in accepts:
        if not path.startswith("/") or path != (path.rstrip("/") or "/"):
            raise ValueError(f"serve_websocket(paths={path!r}): expected a path such as '/twilio'")
    # Host names are checked without tokens as well, because a hostile page may have its name resolved to this server.
    local = is_loopback_host(host) or authorize is None
    handler = _WebSocketHandler(sessions, accepts, origins or (), authorize, local=local)
    options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
    preload_libraries()
    async with sockets.listen(
        handler.serve,
        host=host,
        port=port,
        process_request=handler.refuse,
        max_size=sessions.limits.max_message_bytes,
        open_timeout=sessions.limits.open_seconds,
        **options,
    ) as server.port:
        yield server


class _WebSocketHandler:
    """Handles the requests of one server: decides which may open a WebSocket, and serves those peers."""

    def __init__(
        self,
        sessions: Sessions,
        accepts: Mapping[str, Accept],
        origins: Collection[str],
        authorize: Authorize | None,
        *,
        local: bool,
    ) -> None:
        self._sessions = sessions
        self._accepts = accepts
        self._origins = origins
        self._authorize = authorize
        self._local = local
        self._accept = limit_waiting(sessions, self._accept_path)

    async def refuse(self, connection: Any, request: Any) -> Any:
        """Return the HTTP response that refuses a request; None if it may go on."""
        if name := repeated_header(name for name, _ in request.headers.raw_items()):
            return http_response(400, "Bad Request", f"There is more than one {name} header.".encode())
        path = request_path(request)
        if path not in self._accepts:
            return http_response(404, "Not Found", f"Nothing is served at {path}.".encode())
        origin, name = request.headers.get("Origin"), request.headers.get("Host", "")
        if reason := refuse_origin(origin, name, self._origins, local=self._local):
            return http_response(403, "Forbidden", reason.encode())
        token = bearer_token(request.headers.get("Authorization", ""))
        if self._authorize is not None and token and not await is_authorized(self._authorize, token):
            return http_response(401, "Unauthorized", b"This token is wrong.")
        try:
            self._sessions.admit_to_start()
        except RefusedError as error:
            return http_response(503, "Service Unavailable", str(error).encode())
        return None

    async def serve(self, socket: Socket, request: Any) -> None:
        """Serve a peer until its session has ended."""
        # A bearer token has been checked above; without one, the first message must have the token.
        decided = self._authorize is None or bearer_token(request.headers.get("Authorization", ""))
        connection = ConnectionRequest(
            address=getattr(socket, "address", ""),
            path=request_path(request),
            params=dict(parse_qsl(urlsplit(request.path).query)),
            limits=self._sessions.limits,
            authorize=None if decided else self._authorize,
        )
        await serve_websocket_peer(socket, self._sessions, connection, accept=self._accept)

    async def _accept_path(self, socket: Socket, request: ConnectionRequest) -> SocketTransport:
        return await self._accepts[request.path](socket, request)
