"""Any brain behind the OpenAI Realtime protocol, on a WebSocket of one's own.

::

    async with serve(Cascade.offline) as server:
        print(server.base_url)  # for any client of that API
        await anyio.sleep_forever()

A brain, to be served, is made by `make_brain` once for each session. A plain `Cascade` is one, and so is a realtime
model. It

* takes the user's `Audio` (16-bit mono, at the rate of the session's input, or at `rate`), and as much as it likes of
  `SpeechStarted`, `SpeechContinued`, `SpeechStopped`, `Image`, `Configure`, `ClearAudio` and `Remember`;
* answers each `Commit` (the user has spoken; never a `SpeechStopped`, which decides nothing), each `UserText` and each
  `Respond` with one response, one after the other: `ResponseStarted`, `Text`, `Audio` and `ToolCall` that carry its
  id, `Usage` if it knows, `ResponseEnded`; so it does a `Say`, in dialects that have such. Sound without a response
  is taken for the user's, and ignored;
* ends a response that has called tools of the client's, and goes on by itself, with another one, when a `ToolResult`
  (upstream) has come for every call. They come when the client asks for a response, before anything else; while some
  are missing, a `Respond` follows. Calls that are `handled` are the brain's own business;
* after an `Interrupt` answers nothing that it was asked before;
* gives `Transcript` of the user, by the item of `SpeechStarted`, if it has any, and `Failure` (upstream) if it must;
* learns what was heard by `Played`, and in words by `Heard` (upstream): that it has begun, when it is sent; then as
  much as the client says when it truncates, else all, when the next turn comes.

Tools, instructions and voice come as `Configure`, tools as `schemas`, as the API writes them. History that a client
puts in comes as `Remember`. The message of a `Failure` is told to the client. Speech is found by this server, by a
`Vad` set as the session's `turn_detection` says, and the brain is told to leave the turns to it (`TurnControl`); with
`vad=None` it takes its turns itself.

A response that the client asks for is created at once, one that answers speech when the brain begins it. Its end is the
brain's `ResponseEnded`. Neither the user's sound nor the agent's is kept.
"""

from __future__ import annotations

import hmac
import importlib
import json
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from bargein.services import sockets
from bargein.services.frames import Remember
from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.sockets import Socket

from ._audio import MakeVad, server_vad
from ._config import new_session
from ._errors import RequestError
from ._faults import Faults
from ._link import Ending, Limits, Link, MakeBrain
from ._session import Event, ServerSession

__all__ = [
    "Ending",
    "Event",
    "Faults",
    "Limits",
    "MakeBrain",
    "MakeVad",
    "Remember",
    "Server",
    "ServerSession",
    "ServerStatistics",
    "Step",
    "serve",
    "serve_socket",
    "server_vad",
]

KEY = "openai-insecure-api-key."


class ServerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a server has seen so far."""

    open: int = 0
    """Sessions at this moment."""
    opened: int = 0
    """Sessions that have begun."""
    refused: int = 0
    """Handshakes that were refused."""
    failed: int = 0
    """Sessions that a failure ended."""
    expired: int = 0
    """Sessions that lasted too long, or idled."""
    slow: int = 0
    """Sessions whose client did not read."""


class Server:
    """A server that runs: what `serve` gives."""

    def __init__(self, host: str, path: str = GA.path) -> None:
        self.port = 0
        """Where it listens."""
        self.failures: deque[Exception] = deque(maxlen=100)
        """The exceptions that ended sessions, the latest of them."""
        self._host = f"[{host}]" if ":" in host else host
        self._path = path
        self._open = 0
        self._counts = dict.fromkeys(("opened", "refused", "failed", "expired", "slow"), 0)

    @property
    def base_url(self) -> str:
        """For clients that ask for a base, such as `AsyncOpenAI(websocket_base_url=...)`."""
        return self.url.removesuffix("/realtime")

    @property
    def url(self) -> str:
        """The WebSocket's URL, without the model."""
        return f"ws://{self._host}:{self.port}{self._path}"

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return self._open

    def statistics(self) -> ServerStatistics:
        """What has been counted so far."""
        return ServerStatistics(open=self._open, **self._counts)

    def __repr__(self) -> str:
        return f"<Server {self.url}, {self._open} open>"


@asynccontextmanager
async def serve(
    make_brain: MakeBrain,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_keys: Collection[str] | None = None,
    max_sessions: int = 100,
    limits: Limits | None = None,
    session: Mapping[str, Any] | None = None,
    rate: int | None = None,
    vad: MakeVad | None = server_vad,
    faults: Faults | None = None,
    dialect: ServerLanguage = GA,
) -> AsyncIterator[Server]:
    """Serve brains at `/v1/realtime` while the block runs, on asyncio or trio; `port=0` takes a free one.

    Each connection is a session with a brain of its own; one that fails ends with an `error` event and harms no other.
    `api_keys`: those that are let in; None lets everybody in. `session`: fields that each session begins with, as in a
    `session.update`. `rate` and `vad`: see the module. `faults`: what goes wrong.
    `dialect`: what is spoken, and at which path, where it is not the GA interface.

    Raises `ModuleNotFoundError` without websockets, and `ValueError` for fields that cannot be.
    """
    try:
        new_session("", "", 0, session, lenient=dialect is not GA)
    except RequestError as error:
        raise ValueError(f"serve(session=...): {error}") from None
    server = Server(host, dialect.path)
    options: dict[str, Any] = {"session": session, "rate": rate, "vad": vad, "limits": limits, "faults": faults}
    options["dialect"] = dialect

    def check(connection: Any, request: Any) -> Any:
        answer = _refusal(request, api_keys, server._open >= max_sessions, faults, dialect)
        if answer is not None:
            server._counts["refused"] += 1
        return answer

    async def handle(socket: Socket, request: Any) -> None:
        if server._open >= max_sessions:  # several came at once
            await socket.close(1013, "too many sessions")
            return
        link = Link(socket, make_brain, model=_parameter(request, dialect.model), **options)
        server._open += 1
        server._counts["opened"] += 1
        try:
            ending = await link.run()
        finally:
            server._open -= 1
        if link.failure is not None:
            server.failures.append(link.failure)
        if ending in ("failed", "slow", "expired", "idle"):
            server._counts["expired" if ending == "idle" else ending] += 1

    async with sockets.listen(
        handle, host=host, port=port, process_request=check, select_subprotocol=_subprotocol
    ) as server.port:
        yield server


async def serve_socket(
    socket: Socket,
    make_brain: MakeBrain,
    *,
    model: str = "bargein",
    limits: Limits | None = None,
    session: Mapping[str, Any] | None = None,
    rate: int | None = None,
    vad: MakeVad | None = server_vad,
    faults: Faults | None = None,
    dialect: ServerLanguage = GA,
) -> Ending:
    """Serve one session on a socket, such as one end of `sockets.pipe()`; says how it ended. Options: see `serve`.

    Raises what failed in the brain, after the client was told.
    """
    link = Link(
        socket,
        make_brain,
        model=model,
        session=session,
        rate=rate,
        vad=vad,
        limits=limits,
        faults=faults,
        dialect=dialect,
    )
    ending = await link.run()
    if link.failure is not None:
        raise link.failure
    return ending


# The handshake --------------------------------------------------------------------------------------------------------


def _refusal(
    request: Any, keys: Collection[str] | None, full: bool, faults: Faults | None, dialect: ServerLanguage
) -> Any:
    """The HTTP answer to a handshake that comes to nothing; None for one that may go on."""
    if faults is not None and faults.html_answer:
        return _answer(200, "OK", b"<!doctype html><title>Hello</title><p>A web page.</p>", "text/html; charset=utf-8")
    if faults is not None and faults.refuse_status:
        return _problem(faults.refuse_status, "Refused", "A fault on demand.", "server_error", "refused")
    path = urlsplit(request.path).path
    if path.rstrip("/") != dialect.path:
        return _problem(404, "Not Found", f"Invalid URL (GET {path})", "invalid_request_error", None)
    if keys is not None:
        given = _key(request, dialect.key_header)
        if not given:
            where = f"an {dialect.key_header} header" if dialect.key_header else "an Authorization header, as Bearer"
            said = f"You didn't provide an API key. Give it in {where}."
            return _problem(401, "Unauthorized", said, "invalid_request_error", None)
        if not any(hmac.compare_digest(given.encode(), key.encode()) for key in keys):
            return _problem(
                401, "Unauthorized", "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"
            )
    if dialect.model and not _parameter(request, dialect.model):
        said = f"You must provide a {dialect.model} parameter."
        return _problem(400, "Bad Request", said, "invalid_request_error", f"missing_{dialect.model}")
    if full:
        said = "The server has as many sessions as it can take. Try again later."
        return _problem(503, "Service Unavailable", said, "server_error", "server_overloaded")
    return None


def _parameter(request: Any, name: str) -> str:
    query: str = urlsplit(request.path).query
    return parse_qs(query).get(name, [""])[0]


def _key(request: Any, header: str = "") -> str:
    """The API key of a request: in a header of its own, a bearer token, or in a subprotocol, as browsers must."""
    if header and (own := request.headers.get(header)):
        return str(own)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return str(token.strip())
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    return next((name.strip().removeprefix(KEY) for name in offered if name.strip().startswith(KEY)), "")


def _subprotocol(connection: Any, offered: Collection[str]) -> str | None:
    return "realtime" if "realtime" in offered else None


def _problem(status: int, phrase: str, message: str, kind: str, code: str | None) -> Any:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return _answer(status, phrase, json.dumps(body, indent=2).encode(), "application/json")


def _answer(status: int, phrase: str, body: bytes, kind: str) -> Any:
    headers = importlib.import_module("websockets.datastructures").Headers(
        {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    )
    return importlib.import_module("websockets.http11").Response(status, phrase, headers, body)
