"""The server of an agent's page: uvicorn within AnyIO's rules, and an end at which agents finish their sentences."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import sniffio

from .._need import need
from ..brains import Choice
from ..transports import SessionLimits, Sessions, drain_on_signal
from ..transports._origin import is_loopback
from ..transports.websocket import Authorize
from .app import make_app
from .metrics import Metrics

__all__ = ["PageServer", "serve_page"]


BACKLOG = 2048
"""So many connections may wait to be accepted."""


class PageServer:
    """A server that runs: what `serve_page` gives."""

    def __init__(self, sessions: Sessions, host: str, port: int, *, tls: bool) -> None:
        self.sessions = sessions
        """The conversations."""
        self.host = host
        """Where it listens."""
        self.port = port
        """And at which port."""
        self._scheme = "https" if tls else "http"
        self._stop = anyio.Event()

    @property
    def url(self) -> str:
        """The page's address, for a browser on this machine."""
        host = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(self.host, self.host)
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def stop(self) -> None:
        """Have `wait()` return."""
        self._stop.set()

    async def wait(self) -> None:
        """Wait until somebody stops it: `stop()`, or SIGINT or SIGTERM, in the main thread of a program.

        At a signal all sessions finish what they are saying; a second one does not wait for them.
        """
        async with anyio.create_task_group() as group:

            async def signals() -> None:
                await drain_on_signal(self.sessions)
                self.stop()

            group.start_soon(signals)
            await self._stop.wait()
            group.cancel_scope.cancel()

    def __repr__(self) -> str:
        return f"<PageServer {self.url}, {len(self.sessions.live)} sessions>"


@asynccontextmanager
async def serve_page(
    build: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    brains: Sequence[Choice] = (),
    suggestions: Sequence[str] = (),
    limits: SessionLimits | None = None,
    origins: Sequence[str] = (),
    authorize: Authorize | None = None,
    ice_servers: Sequence[Any] = (),
    video_fps: float = 0.0,
    certificate: Path | None = None,
    key: Path | None = None,
) -> AsyncIterator[PageServer]:
    """Serve an agent, with its page, while the block runs: over WebRTC (with the extra) and WebSocket. On asyncio only.

    `build(peer)` makes the graph for each peer. `brains` are offered on the page, and come back as the wish `brain`.
    `suggestions` are sentences that the page offers to say; a brain's own come first.
    `origins`: other pages that may talk to it. `authorize(token)` says who may. `ice_servers` and
    `video_fps`: see `WebRtcServer`.
    `certificate` and `key` are files, for https; a browser gives its microphone to https, and to localhost. `port=0`
    takes a free one.

    Leaving the block drains: no more peers, and every session finishes what it is saying, within `drain_seconds`.
    A server at 127.0.0.1 or `localhost` answers browsers by such names only, and by those of the `origins`.
    Raises `OSError` when the port is taken, `ValueError` for files that will not do, and `ModuleNotFoundError` without
    the extra `server`.
    """
    uvicorn = need("uvicorn", "server", "serve_page()")
    if sniffio.current_async_library() != "asyncio":
        raise RuntimeError("serve_page() needs asyncio, as uvicorn does; on trio use serve_websocket()")
    _check(certificate, key)
    listening = _listen(host, port)
    metrics = Metrics()
    sessions = Sessions(build, limits=limits, observe=metrics.observe)
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
            local=is_loopback(host),
        )
        config = uvicorn.Config(
            app,
            http="h11",  # it alone bounds what it keeps of a head that does not end
            log_level="warning",
            lifespan="off",
            access_log=False,
            ws_max_size=sessions.limits.message_bytes,
            timeout_graceful_shutdown=2,
            ssl_certfile=certificate and str(certificate),
            ssl_keyfile=key and str(key),
        )
        server = _quiet(uvicorn.Server)(config)
        page = PageServer(sessions, host, listening.getsockname()[1], tls=certificate is not None)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listening])
            try:
                yield page
            except Exception as error:  # the block's own: it is raised as itself, and not inside a group
                failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await sessions.drain()
                    server.should_exit = True
        if failure is not None:
            raise failure


def _check(certificate: Path | None, key: Path | None) -> None:
    """Raise `ValueError` for what will not do for https, before anything is promised to anybody."""
    if certificate is None:
        if key is not None:
            raise ValueError(f"the key {key} is of no use without its certificate; give both")
        return
    try:  # without a word for a key that is locked: the library would ask for one in the terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        files = f"{certificate}{f' with {key}' if key else ''}"
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(
            f"{files} cannot be used for https: {why}; both should be files in PEM, the key open"
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port < 65536:
        raise ValueError(f"serve_page(port={port}): expected 1 to 65535, or 0 for a free one")
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)  # now, so that nobody is turned away while the server begins
    except OSError as error:
        listening.close()
        remedy = "port, or 0" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        raise OSError(
            error.errno, f"cannot listen at {host}, port {port}: {error.strerror}; choose another {remedy}"
        ) from None
    return listening


def _quiet(server: Any) -> Any:
    """Uvicorn's server, without its grip on signals: who serves a page says when it ends."""

    class Quiet(server):  # type: ignore[misc]
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Quiet


@asynccontextmanager
async def _webrtc(sessions: Sessions, ice_servers: Sequence[Any], video_fps: float) -> AsyncIterator[Any]:
    """The WebRTC side, where its extra is installed."""
    if importlib.util.find_spec("aiortc") is None:
        yield None
        return
    from ..transports.webrtc import WebRtcServer  # noqa: PLC0415  # of an extra, and slow to import

    async with WebRtcServer(sessions, ice_servers=ice_servers, video_fps=video_fps) as server:
        yield server
