"""`serve_page`: an agent with its page, served by uvicorn while a block runs."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import itertools
import logging
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict

import anyio
import sniffio

from bargein.pipeline.lowlevel import check_options, import_extra
from bargein.services.media.ice import IceServer
from bargein.services.providers.brains import BrainChoice
from bargein.services.sockets.addresses import is_loopback_host
from bargein.services.sockets.descriptors import BACKLOG, default_accept_batch, default_max_connections
from bargein.services.transports import BuildAgent, SessionLimits, Sessions, drain_on_signal
from bargein.services.transports.websocket import Authorize

from ._connections import make_protocol, make_websocket_protocol
from .app import make_app
from .metrics import Metrics

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from bargein.services.transports.webrtc import WebRtcServer

__all__ = ["DEFAULT_PORT", "PageOptions", "PageServer", "serve_page"]

log = logging.getLogger("bargein.server")

DEFAULT_PORT = 8080
"""The port at which a page is served, unless another is given."""
PORTS_TRIED = 20
"""Number of ports that are tried, from the default on, when none is given."""

FilePath = str | os.PathLike[str]


class PageOptions(TypedDict, total=False):
    """The options of `serve_page` and `run_page`; `serve_page` explains them."""

    host: str
    port: int | None
    brains: Sequence[BrainChoice]
    suggestions: Sequence[str]
    limits: SessionLimits | None
    origins: Sequence[str]
    authorize: Authorize | None
    ice_servers: Sequence[IceServer | str]
    video_fps: float
    certificate: FilePath | None
    key: FilePath | None


class PageServer:
    """A running server, as `serve_page` yields it.

    Args:
        sessions: The sessions of its peers.
        host: The host at which it listens.
        port: The port at which it listens.
        tls: Whether it is served with TLS.
    """

    @check_options
    def __init__(self, sessions: Sessions, host: str, port: int, *, tls: bool) -> None:
        self.sessions = sessions
        """The sessions of its peers."""
        self.host = host
        """The host at which it listens."""
        self.port = port
        """The port at which it listens."""
        self._scheme = "https" if tls else "http"
        self._stopped = anyio.Event()

    @property
    def url(self) -> str:
        """The page's URL, for a browser on this machine."""
        host = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(self.host, self.host)
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def stop(self) -> None:
        """Make `wait()` return, which ends the server."""
        self._stopped.set()

    async def wait(self) -> None:
        """Wait until the program is stopped: by SIGINT (Ctrl+C), by SIGTERM, or by `stop()`.

        After a signal all sessions finish what they are saying. A second signal cancels them. Signals reach the main
        thread only, so in another thread use `stop()`.
        """
        async with anyio.create_task_group() as group:

            async def stop_on_signal() -> None:
                await drain_on_signal(self.sessions)
                self.stop()

            group.start_soon(stop_on_signal)
            await self._stopped.wait()
            group.cancel_scope.cancel()

    def __repr__(self) -> str:
        return f"<PageServer {self.url}, {len(self.sessions.live)} sessions>"


def serve_page(
    agent: BuildAgent,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    brains: Sequence[BrainChoice] = (),
    suggestions: Sequence[str] = (),
    limits: SessionLimits | None = None,
    origins: Sequence[str] = (),
    authorize: Authorize | None = None,
    ice_servers: Sequence[IceServer | str] = (),
    video_fps: float = 0.0,
    certificate: FilePath | None = None,
    key: FilePath | None = None,
) -> AbstractAsyncContextManager[PageServer]:
    """Serve an agent with its page while the block runs, over WebRTC (extra `webrtc`) and WebSocket, on asyncio only::

        async with serve_page(agent) as server:
            await server.wait()

    Leaving the block lets every session finish what it is saying, within `drain_seconds` of the limits.

    Args:
        agent: Makes the graph for each peer.
        host: Address to listen at; `0.0.0.0` for all machines that can reach this one. A server at 127.0.0.1 or without
            `authorize` answers browsers only if they call it by an IP address, by this machine's name, or by a name in
            `origins`, because any other name may belong to a hostile page. At 127.0.0.1 without `origins` and
            `authorize`, peers are told what exception ended a session.
        port: Port to listen at. None takes 8080, or the next free one. 0 takes any free one.
        brains: Brains that the page offers. The peer's choice is in `Peer.params["brain"]`.
        suggestions: Sentences that the page offers to say. A brain's own suggestions come first.
        limits: Limits of the server and of each peer.
        origins: Other pages that may talk to this server, such as `https://example.com`; `*` for all.
        authorize: Decides by a token whether a peer may connect; None to allow every peer.
        ice_servers: STUN and TURN servers for peers on other networks; see `WebRtcServer`.
        video_fps: Maximum number of camera pictures a second; 0 for no camera.
        certificate: A certificate file (PEM), for https. Browsers allow the microphone on https and localhost only.
        key: The certificate's private key (PEM), if it is in another file.

    Raises:
        ModuleNotFoundError: The extra `server` is not installed.
        RuntimeError: This is not asyncio, the only backend that uvicorn supports.
        OSError: The port is taken.
        ValueError: An option is out of range, or the certificate cannot be used.
    """
    return _serve_page(
        agent, host, port, brains, suggestions, limits, origins, authorize, ice_servers, video_fps, certificate, key
    )


@asynccontextmanager
async def _serve_page(
    agent: BuildAgent,
    host: str,
    port: int | None,
    brains: Sequence[BrainChoice],
    suggestions: Sequence[str],
    limits: SessionLimits | None,
    origins: Sequence[str],
    authorize: Authorize | None,
    ice_servers: Sequence[IceServer | str],
    video_fps: float,
    certificate: FilePath | None,
    key: FilePath | None,
) -> AsyncIterator[PageServer]:
    import_extra("uvicorn", "server", "serve_page()")
    if sniffio.current_async_library() != "asyncio":
        raise RuntimeError("serve_page() needs asyncio, as uvicorn does; on trio use serve_websocket()")
    _check_certificate(certificate, key)
    listening = _listen(host, port)
    metrics = Metrics()
    # Peers of this machine are the developer. Behind a proxy they are not; but then the proxy's page is in `origins`.
    show_errors = is_loopback_host(host) and not origins and authorize is None
    sessions = Sessions(agent, limits=limits, observe=metrics.observe, show_errors=show_errors)
    metrics.watch(sessions)
    async with _webrtc(sessions, ice_servers, video_fps) as webrtc:
        app = make_app(
            sessions,
            brains=brains,
            suggestions=suggestions,
            metrics=metrics,
            webrtc=webrtc,
            origins=origins,
            authorize=authorize,
            local=is_loopback_host(host),
        )
        server = _uvicorn_server(app, sessions.limits, certificate, key)
        page = PageServer(sessions, host, listening.getsockname()[1], tls=certificate is not None)
        async with _run(server, listening, sessions):
            yield page


@asynccontextmanager
async def _run(server: Any, listening: socket.socket, sessions: Sessions) -> AsyncIterator[None]:
    """Run uvicorn's server while the block runs, then drain the sessions."""
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listening])
        try:
            await server.listens.wait()
            yield
        except Exception as error:  # raised below, as itself: the group would wrap it
            failure = error
        finally:
            with anyio.CancelScope(shield=True):
                await sessions.drain()
                server.should_exit = True
    if failure is not None:
        raise failure


def _check_certificate(certificate: FilePath | None, key: FilePath | None) -> None:
    """Raise `ValueError` for files that cannot be used for https."""
    if certificate is None:
        if key is not None:
            raise ValueError(f"the key {key} cannot be used without its certificate; give both")
        return
    try:  # the empty password prevents the library from asking for one in the terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        files = f"{certificate}{f' with {key}' if key else ''}"
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(
            f"{files} cannot be used for https: {reason}; both should be files in PEM, the key without a password"
        ) from None


def _listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens. Raises `OSError` and `ValueError`."""
    if port is not None:
        return _listen_at(host, port)
    for candidate in itertools.count(DEFAULT_PORT):
        try:
            listening = _listen_at(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == DEFAULT_PORT + PORTS_TRIED - 1:
                raise
        else:
            if candidate != DEFAULT_PORT:
                log.warning("port %d is taken; listening at port %d", DEFAULT_PORT, candidate)
            return listening
    raise AssertionError("the loop above ends by itself")


def _listen_at(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port < 65536:
        raise ValueError(f"serve_page(port={port}): expected 1 to 65535, or 0 for a free one")
    listening = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # on Windows this option lets two servers listen at one port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)  # already here, so that peers can connect while the server starts
    except OSError as error:
        listening.close()
        remedy = "port, or 0" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        raise OSError(
            error.errno, f"cannot listen at {host}, port {port}: {error.strerror}; choose another {remedy}"
        ) from None
    return listening


def _uvicorn_server(app: Starlette, limits: SessionLimits, certificate: FilePath | None, key: FilePath | None) -> Any:
    uvicorn = import_extra("uvicorn", "server", "serve_page()")
    # It is based on h11, which bounds how much of an unfinished head it keeps; httptools does not.
    protocol = make_protocol(head_seconds=limits.open_seconds, max_connections=default_max_connections())
    config = uvicorn.Config(
        app,
        http=protocol,
        ws=make_websocket_protocol(),
        log_level="error",  # its warnings concern malformed requests, so anyone could fill the log
        lifespan="off",
        access_log=False,
        backlog=default_accept_batch(),
        ws_max_size=limits.max_message_bytes,
        timeout_graceful_shutdown=2,
        ssl_certfile=None if certificate is None else os.fspath(certificate),
        ssl_keyfile=None if key is None else os.fspath(key),
    )
    return _server_class()(config)


@functools.cache
def _server_class() -> Any:
    """Return uvicorn's server with two changes: the program decides when it stops, and many connections may wait.

    asyncio takes one number both for the connections that may wait and for those that it accepts at once. The second
    number must be small (see `default_accept_batch`), so `startup` sets the first one on the socket afterwards.
    """
    base: Any = import_extra("uvicorn", "server", "serve_page()").Server

    class PageHttpServer(base):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.listens = anyio.Event()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for each in sockets or ():
                each.listen(BACKLOG)
            self.listens.set()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return PageHttpServer


@asynccontextmanager
async def _webrtc(
    sessions: Sessions, ice_servers: Sequence[IceServer | str], video_fps: float
) -> AsyncIterator[WebRtcServer | None]:
    """Yield the WebRTC server, or None where its extra is not installed."""
    if importlib.util.find_spec("aiortc") is None:
        yield None
        return
    from bargein.services.transports.webrtc import WebRtcServer  # noqa: PLC0415 - needs the extra

    async with WebRtcServer(sessions, ice_servers=ice_servers, video_fps=video_fps) as server:
        yield server
