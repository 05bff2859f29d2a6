"""Serve any brain by the OpenAI Realtime protocol, on a WebSocket.

::

    async with serve(Cascade.offline) as server:
        print(server.base_url)  # for any client of that API
        await anyio.sleep_forever()

`make_brain` makes a brain for each session. A `Cascade` is one, and so is a realtime model. Your own brain has to do
this:

* It takes the user's `Audio` (16-bit mono, at the rate of the session's input, or at `rate`), and, where it wants to,
  `SpeechStarted`, `SpeechContinued`, `SpeechStopped`, `Image`, `Configure`, `ClearAudio` and `Remember`. Where the
  client commits sound in which no speech was found, `SpeechStarted` and `SpeechStopped` come together, and mark its
  bounds by their `pts`.
* It answers each `Commit` (the user has spoken), each `UserText` and each `Respond` with one response, one after the
  other: `ResponseStarted`, then `Text`, `Audio` and `ToolCall` with its id, `Usage` if it knows it, `ResponseEnded`. In
  dialects that have verbatim speech it answers `Say` in the same way. It does not answer `SpeechStopped`, and sound
  without a response id is taken for the user's.
* A response that calls tools of the client ends. When a `ToolResult` (upstream) has come for each call, the brain
  starts another response by itself. Results come when the client asks for a response, before anything else; where some
  are missing, a `Respond` follows them. The brain answers calls that are `handled` by itself.
* After an `Interrupt` it answers nothing that it was asked before.
* It sends `Transcript` of the user, with the item id of `SpeechStarted`, and `Failure` (upstream) for what fails.
* It learns what was heard by `Played` and, in words, by `Heard` (both upstream): an item has begun when it is sent; how
  far it was heard is what the client says when it truncates the item, or else all of it, when the next turn comes.

Tools, instructions and voice come as `Configure`, tools as `schemas` in the API's form. History that a client puts in
comes as `Remember`. The client gets the message of a `Failure` where `show_errors` allows it, and else a general
sentence. This server finds speech with a `Vad` that is set as the session's `turn_detection` says, and tells the brain
by `TurnControl` that it decides turns; with `vad=None` the brain decides turns itself.

A response that the client asks for is created at once; one that answers speech is created when the brain begins it. It
ends with the brain's `ResponseEnded`. Neither the user's sound nor the agent's is stored.
"""

from __future__ import annotations

import ssl as tls
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Unpack

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services import sockets
from bargein.services.frames import Remember
from bargein.services.media.preload import preload_libraries
from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.openai.server._core.audio import MakeVad, server_vad
from bargein.services.providers.openai.server._core.config import new_session
from bargein.services.providers.openai.server._core.errors import RequestError
from bargein.services.providers.openai.server._core.session import Event, ServerSession
from bargein.services.sockets import Socket
from bargein.services.sockets.addresses import is_loopback_host
from bargein.services.sockets.handshake import query_parameter

from ._faults import Faults
from ._handshake import Handshake, choose_subprotocol
from ._socket_session import Ending, Limits, MakeBrain, ServedSessionOptions, SocketSession

__all__ = [
    "Ending",
    "Event",
    "Faults",
    "Limits",
    "MakeBrain",
    "MakeVad",
    "Remember",
    "ServedSessionOptions",
    "Server",
    "ServerSession",
    "ServerStatistics",
    "serve",
    "serve_socket",
    "server_vad",
]


class ServerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a server."""

    open: int = 0
    """Sessions at this moment."""
    opened: int = 0
    """Sessions that have begun."""
    refused: int = 0
    """Handshakes that were refused."""
    failed: int = 0
    """Sessions that a failure ended."""
    expired: int = 0
    """Sessions that reached their time limit, or whose client was silent for too long."""
    slow: int = 0
    """Sessions whose client did not read."""


class Server:
    """A running server: what the block of `serve` gets.

    Args:
        host: The host at which it listens.
        path: The path at which it is served. Default: that of OpenAI's GA interface.
        secure: Whether it is served with TLS. Default False.
    """

    @check_options
    def __init__(self, host: str, path: str = GA.path, *, secure: bool = False) -> None:
        self.port = 0
        """The port at which it listens."""
        self.failures: deque[Exception] = deque(maxlen=100)
        """The newest exceptions that ended sessions."""
        self._host = f"[{host}]" if ":" in host else host
        self._path = path
        self._scheme = "wss" if secure else "ws"
        self._open = 0
        self._counts = dict.fromkeys(("opened", "refused", "failed", "expired", "slow"), 0)

    @property
    def base_url(self) -> str:
        """The address for clients that want a base, such as `AsyncOpenAI(websocket_base_url=...)`."""
        return self.url.removesuffix("/realtime")

    @property
    def url(self) -> str:
        """The WebSocket's URL, without the model."""
        return f"{self._scheme}://{self._host}:{self.port}{self._path}"

    @property
    def sessions(self) -> int:
        """Number of open sessions."""
        return self._open

    def statistics(self) -> ServerStatistics:
        """Return the counters as they are now."""
        return ServerStatistics(open=self._open, **self._counts)

    async def _run(self, session: SocketSession) -> None:
        self._open += 1
        self._counts["opened"] += 1
        try:
            ending = await session.run()
        finally:
            self._open -= 1
        if session.failure is not None:
            self.failures.append(session.failure)
        if ending in ("failed", "slow", "expired", "idle"):
            self._counts["expired" if ending == "idle" else ending] += 1

    def __repr__(self) -> str:
        return f"<Server {self.url}, {self._open} open>"


@check_options
@asynccontextmanager
async def serve(
    make_brain: MakeBrain,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_keys: Collection[str] | None = None,
    origins: Collection[str] | None = None,
    ssl: tls.SSLContext | None = None,
    max_sessions: int = 100,
    **options: Unpack[ServedSessionOptions],
) -> AsyncIterator[Server]:
    """Serve brains at `/v1/realtime` and `/realtime` for the time of the block, on asyncio or trio.

    Each connection is a session with its own brain. One that fails ends with an `error` event; the others go on.

    Args:
        make_brain: Makes the brain of a session; the module says what it has to do.
        host: Address to listen at; the default is this machine only.
        port: Port to listen at; 0 takes a free one.
        api_keys: Keys that are accepted; None accepts clients without a key.
        origins: Web pages that may connect besides this server's own, such as `https://example.com`; `*` for all.
            Programs send no origin, and may connect.
        ssl: The TLS context for `wss`; None for no encryption.
        max_sessions: Sessions at a time, at most.
        options: Options of each session, see `ServedSessionOptions`: `session` (fields it begins with), `rate` (Hz that
            the brain wants), `vad`, `limits`, `faults`, `show_errors`, `dialect`.

    Raises:
        ModuleNotFoundError: The extra `websockets` is not installed.
        ValueError: `session` has fields or values that the interface does not allow.
        OSError: The port is taken.
    """
    language, limits = options.get("dialect", GA), options.get("limits") or Limits()
    try:
        new_session("", "", 0, options.get("session"), lenient=language is not GA)
    except RequestError as error:
        raise ValueError(f"serve(session=...): {error}") from None
    options.setdefault("show_errors", is_loopback_host(host) and api_keys is None and not origins)
    server = Server(host, language.path, secure=ssl is not None)
    handshake = Handshake(
        language, api_keys=api_keys, origins=origins or (), local=is_loopback_host(host), faults=options.get("faults")
    )

    def check(connection: Any, request: Any) -> Any:
        response = handshake.refusal(request, full=server._open >= max_sessions)
        server._counts["refused"] += response is not None
        return response

    async def handle(socket: Socket, request: Any) -> None:
        if server._open >= max_sessions:  # several connected at once
            await socket.close(1013, "too many sessions")
            return
        session = SocketSession(socket, make_brain, model=query_parameter(request, language.model), **options)
        await server._run(session)

    wire: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
    wire |= {"select_subprotocol": choose_subprotocol, "open_timeout": limits.open_seconds}
    preload_libraries()
    async with sockets.listen(handle, host=host, port=port, process_request=check, **wire) as server.port:
        yield server


@check_options
async def serve_socket(
    socket: Socket, make_brain: MakeBrain, *, model: str = "bargein", **options: Unpack[ServedSessionOptions]
) -> Ending:
    """Serve one session on a socket, such as one end of `sockets.pipe()`.

    Args:
        socket: The client's socket. It is closed when this returns.
        make_brain: Makes the brain.
        model: The model's name in the session object.
        options: See `serve`.

    Returns:
        How the session ended.

    Raises:
        Exception: What failed in the brain, after the client was told.
    """
    session = SocketSession(socket, make_brain, model=model, **options)
    ending = await session.run()
    if session.failure is not None:
        raise session.failure
    return ending
