"""Serve any brain by the OpenAI Realtime protocol, on a WebSocket.

::

    async with serve(Cascade.offline) as server:
        print(server.base_url)  # for any client of that API
        await anyio.sleep_forever()

`make_brain` makes a brain for each session. A `Cascade` is one, and so is a realtime model. A brain of your own has to
do this:

* It takes the user's `Audio` (16-bit mono, at the rate of the session's input, or at `rate`), and, where it wants to,
  `SpeechStarted`, `SpeechContinued`, `SpeechStopped`, `Image`, `Configure`, `ClearAudio` and `Remember`. Where the
  client commits sound in which no speech was found, `SpeechStarted` and `SpeechStopped` come together, and give its
  bounds by their `pts`.
* It answers each `Commit` (the user has spoken), each `UserText` and each `Respond` with one response, one after the
  other: `ResponseStarted`, then `Text`, `Audio` and `ToolCall` with its id, `Usage` if it knows it, `ResponseEnded`. In
  dialects that have verbatim speech it answers `Say` in the same way. It does not answer `SpeechStopped`, and sound
  without a response id is taken for the user's.
* A response that calls tools of the client ends. When a `ToolResult` (upstream) has come for each call, the brain goes
  on with another response by itself. Results come when the client asks for a response, before anything else; where some
  are missing, a `Respond` follows them. The brain answers calls that are `handled` by itself.
* After an `Interrupt` it answers nothing that it was asked before.
* It gives `Transcript` of the user, with the item id of `SpeechStarted`, and `Failure` (upstream) where it must.
* It learns what was heard by `Played` and, in words, by `Heard` (both upstream): an item has begun when it is sent; how
  far it was heard is what the client says when it truncates the item, or else all of it, when the next turn comes.

Tools, instructions and voice come as `Configure`, tools as `schemas` in the API's form. History that a client puts in
comes as `Remember`. The message of a `Failure` is sent to the client. This server finds speech with a `Vad` that is set
as the session's `turn_detection` says, and tells the brain by `TurnControl` that it decides turns; with `vad=None` the
brain decides turns itself.

A response that the client asks for is created at once; one that answers speech is created when the brain begins it. It
ends with the brain's `ResponseEnded`. Neither the user's sound nor the agent's is stored.
"""

from __future__ import annotations

import hmac
import json
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Unpack

import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services import sockets
from bargein.services.frames import Remember
from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.sockets import Socket
from bargein.services.sockets.handshake import bearer_token, http_response, query_parameter, request_path

from ._audio import MakeVad, server_vad
from ._config import new_session
from ._errors import RequestError
from ._faults import Faults
from ._session import Event, ServerSession
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

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""The beginning of a subprotocol that holds a key: browsers cannot set headers of a WebSocket."""


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
    """A running server: what the block of `serve` gets."""

    def __init__(self, host: str, path: str = GA.path) -> None:
        self.port = 0
        """The port at which it listens."""
        self.failures: deque[Exception] = deque(maxlen=100)
        """The newest exceptions that ended sessions."""
        self._host = f"[{host}]" if ":" in host else host
        self._path = path
        self._open = 0
        self._counts = dict.fromkeys(("opened", "refused", "failed", "expired", "slow"), 0)

    @property
    def base_url(self) -> str:
        """The address for clients that want a base, such as `AsyncOpenAI(websocket_base_url=...)`."""
        return self.url.removesuffix("/realtime")

    @property
    def url(self) -> str:
        """The WebSocket's URL, without the model."""
        return f"ws://{self._host}:{self.port}{self._path}"

    @property
    def sessions(self) -> int:
        """Number of open sessions."""
        return self._open

    def statistics(self) -> ServerStatistics:
        """Return the counters as they are now."""
        return ServerStatistics(open=self._open, **self._counts)

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
    max_sessions: int = 100,
    **options: Unpack[ServedSessionOptions],
) -> AsyncIterator[Server]:
    """Serve brains at `/v1/realtime` for the time of the block, on asyncio or trio.

    Each connection is a session with its own brain. One that fails ends with an `error` event; the others go on.

    Args:
        make_brain: Makes the brain of a session; the module says what it has to do.
        host: Address to listen at; the default is this machine only.
        port: Port to listen at; 0 takes a free one.
        api_keys: Keys that are accepted; None accepts clients without a key.
        max_sessions: Sessions at a time, at most.
        options: Options of each session, see `ServedSessionOptions`: `session` (fields it begins with), `rate` (Hz that the
            brain wants), `vad`, `limits`, `faults`, `dialect`.

    Raises:
        ModuleNotFoundError: The extra `websockets` is not installed.
        ValueError: `session` has fields or values that the interface does not allow.
        OSError: The port is taken.
    """
    language = options.get("dialect", GA)
    try:
        new_session("", "", 0, options.get("session"), lenient=language is not GA)
    except RequestError as error:
        raise ValueError(f"serve(session=...): {error}") from None
    server = Server(host, language.path)

    def check(connection: Any, request: Any) -> Any:
        response = _refusal(request, api_keys, server._open >= max_sessions, options.get("faults"), language)
        if response is not None:
            server._counts["refused"] += 1
        return response

    async def handle(socket: Socket, request: Any) -> None:
        if server._open >= max_sessions:  # several connected at once
            await socket.close(1013, "too many sessions")
            return
        session = SocketSession(socket, make_brain, model=query_parameter(request, language.model), **options)
        server._open += 1
        server._counts["opened"] += 1
        try:
            ending = await session.run()
        finally:
            server._open -= 1
        if session.failure is not None:
            server.failures.append(session.failure)
        if ending in ("failed", "slow", "expired", "idle"):
            server._counts["expired" if ending == "idle" else ending] += 1

    async with sockets.listen(
        handle, host=host, port=port, process_request=check, select_subprotocol=_subprotocol
    ) as server.port:
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


# The handshake --------------------------------------------------------------------------------------------------------


def _refusal(
    request: Any, keys: Collection[str] | None, full: bool, faults: Faults | None, language: ServerLanguage
) -> Any:
    """Return the HTTP answer that refuses a handshake; None for one that may go on."""
    if faults is not None and faults.html_answer:
        page = b"<!doctype html><title>Hello</title><p>A web page.</p>"
        return http_response(200, "OK", page, "text/html; charset=utf-8")
    if faults is not None and faults.refuse_status:
        return _problem(faults.refuse_status, "Refused", "A fault on demand.", "server_error", "refused")
    path = request_path(request)
    if path != language.path:
        return _problem(404, "Not Found", f"Invalid URL (GET {path})", "invalid_request_error", None)
    if keys is not None and (problem := _key_problem(request, keys, language.key_header)) is not None:
        return problem
    if language.model and not query_parameter(request, language.model):
        message = f"You must provide a {language.model} parameter."
        return _problem(400, "Bad Request", message, "invalid_request_error", f"missing_{language.model}")
    if full:
        message = "The server has as many sessions as it can take. Try again later."
        return _problem(503, "Service Unavailable", message, "server_error", "server_overloaded")
    return None


def _key_problem(request: Any, keys: Collection[str], header: str) -> Any:
    key = _key(request, header)
    if not key:
        where = f"an {header} header" if header else "an Authorization header, as Bearer"
        message = f"You didn't provide an API key. Give it in {where}."
        return _problem(401, "Unauthorized", message, "invalid_request_error", None)
    if not any(hmac.compare_digest(key.encode(), each.encode()) for each in keys):
        return _problem(401, "Unauthorized", "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
    return None


def _key(request: Any, header: str) -> str:
    """Return the key of a request: of a header of its own, of `Authorization`, or of a subprotocol."""
    if header and (value := request.headers.get(header)):
        return str(value)
    if token := bearer_token(request.headers.get("Authorization", "")):
        return token
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    keys = (name.strip().removeprefix(KEY_SUBPROTOCOL) for name in offered if name.strip().startswith(KEY_SUBPROTOCOL))
    return next(keys, "")


def _subprotocol(connection: Any, offered: Collection[str]) -> str | None:
    return "realtime" if "realtime" in offered else None


def _problem(status: int, phrase: str, message: str, kind: str, code: str | None) -> Any:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return http_response(status, phrase, json.dumps(body, indent=2).encode(), "application/json")
