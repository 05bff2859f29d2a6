"""The HTTP side of an agent: the page, signalling, the socket, health, metrics, and the pipelines that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from bargein.pipeline.draw import svg

from .._need import need
from ..brains import Choice
from ..transports import RefusedError, Sessions, Visit, accept_websocket, serve_websocket_peer
from ..transports._origin import foreign
from ..transports.websocket import Authorize, allowed, bearer, lobby
from ._guard import Guard
from ._socket import AsgiSocket
from .metrics import Metrics

__all__ = ["make_app"]

PAGE = Path(__file__).parent / "page"
DRAWN = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""The content security policy of a drawn pipeline, which has its style in it."""
OFFER_BYTES = 256 * 2**10
"""How long an offer may be: a browser's are about 6 kB."""
SHOWN = ("name", "title", "missing", "sees", "suggestions")
"""What the page is told of a brain."""
TOKEN = "the token is missing or wrong; give it as Authorization: Bearer, or as ?token="
TITLES = {"webrtc": "WebRTC", "websocket": "WebSocket"}


class _Offer(msgspec.Struct, frozen=True):
    sdp: str
    wishes: dict[str, str] = {}
    session: str = ""


_OFFER = msgspec.json.Decoder(_Offer)


class App:
    """Answers the requests of one server."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        brains: Sequence[Choice],
        suggestions: Sequence[str],
        metrics: Metrics,
        webrtc: Any,
        origins: Sequence[str],
        authorize: Authorize | None,
        local: bool,
    ) -> None:
        responses = need("starlette.responses", "server", "the server")
        self.json, self.plain = responses.JSONResponse, responses.Response
        self.sessions = sessions
        self.brains = brains
        self.suggestions = suggestions
        self.metrics = metrics
        self.webrtc = webrtc
        self.origins = origins
        self.authorize = authorize
        self.local = local
        self.accept = lobby(sessions, accept_websocket)

    # What there is to see -----------------------------------------------------------------------------------------

    async def choices(self, request: Any) -> Any:
        """What the page offers to choose from."""
        known = self.webrtc is not None and await self._known(request)  # an ICE server's password is not for everybody
        ways = ["webrtc", "websocket"] if self.webrtc is not None else ["websocket"]
        return self.json(
            {
                "brains": [{name: getattr(each, name) for name in SHOWN} for each in self.brains],
                "suggestions": list(self.suggestions),
                "transports": [{"name": way, "title": TITLES[way]} for way in ways],
                "camera": self.webrtc is not None and self.webrtc.video_fps > 0,
                "iceServers": [_ice(each) for each in self.webrtc.ice_servers] if known else [],
            }
        )

    async def healthy(self, request: Any) -> Any:
        """The server answers."""
        return self.plain("ok\n", media_type="text/plain")

    async def ready(self, request: Any) -> Any:
        """There is room for one more; 503 and the reason where not."""
        why = self.sessions.refusal
        return self.plain(f"{why or 'ready'}\n", media_type="text/plain", status_code=503 if why else 200)

    async def counted(self, request: Any) -> Any:
        """Prometheus' text."""
        return self.plain(self.metrics.text(), headers={"content-type": self.metrics.content_type})

    async def live(self, request: Any) -> Any:
        """The sessions that run."""
        if not await self._known(request):
            return self._problem(401, TOKEN)
        now = anyio.current_time()
        return self.json(
            [
                {"name": name, "brain": each.transport.peer.wishes.get("brain", ""), "seconds": now - each.began}
                for name, each in self.sessions.live.items()
            ]
        )

    async def graph(self, request: Any) -> Any:
        """The pipeline of a session, with its counters."""
        if not await self._known(request):
            return self._problem(401, TOKEN)
        live = self.sessions.live.get(request.query_params.get("session", ""))
        if live is None:
            return self.plain("there is no such session\n", status_code=404, media_type="text/plain")
        drawn = svg(live.graph, live.session.statistics())
        policy = {"content-security-policy": DRAWN}
        return self.plain(drawn, media_type="image/svg+xml", headers=policy)

    # Who comes in -------------------------------------------------------------------------------------------------

    async def refusal(self, connection: Any, *, new: bool = True) -> tuple[int, str] | None:
        """Why somebody may not come in: a status and a sentence. Who is `new` needs room as well."""
        origin, name = connection.headers.get("origin"), connection.headers.get("host", "")
        if why := foreign(origin, name, self.origins, local=self.local):
            return 403, why
        if not await self._known(connection):
            return 401, TOKEN
        try:
            if new:
                self.sessions.admit()
        except RefusedError as error:
            return 503, str(error)
        return None

    async def _known(self, connection: Any) -> bool:
        return self.authorize is None or await allowed(self.authorize, _token(connection))

    async def socket(self, websocket: Any) -> None:
        """A conversation over a WebSocket."""
        if refused := await self.refusal(websocket):
            await websocket.send_denial_response(self._problem(*refused))
            return
        await websocket.accept()
        visit = Visit(address=_address(websocket), wishes=_wishes(websocket), limits=self.sessions.limits)
        await serve_websocket_peer(AsgiSocket(websocket), self.sessions, visit, accept=self.accept)

    async def offer(self, request: Any) -> Any:
        """A WebRTC offer as JSON, of a new peer or a later one of the `session` named; the answer likewise."""
        if refused := await self.refusal(request, new=False):
            return self._problem(*refused)
        try:
            offer = _OFFER.decode(await self._body(request))
        except (msgspec.DecodeError, ValueError) as error:
            return self._problem(400, f'expected {{"sdp": ..., "wishes": {{...}}}}: {error}')
        answered = await self._answer(request, offer.sdp, name=offer.session, wishes=offer.wishes)
        if isinstance(answered, self.plain):
            return answered
        return self.json({"type": "answer", "sdp": answered.sdp, "session": answered.name})

    async def whip(self, request: Any) -> Any:
        """A WebRTC offer as WHIP has it (RFC 9725); the answer likewise."""
        if refused := await self.refusal(request, new=False):
            return self._problem(*refused)
        try:
            sdp = (await self._body(request)).decode()
        except ValueError as error:
            return self._problem(400, f"expected an offer, as application/sdp: {error}")
        answered = await self._answer(request, sdp, wishes=_wishes(request))
        if isinstance(answered, self.plain):
            return answered
        place = f"whip/{answered.name}"  # beside this one, whatever a proxy calls it
        return self.plain(answered.sdp, status_code=201, media_type="application/sdp", headers={"location": place})

    async def _answer(self, request: Any, sdp: str, *, name: str = "", wishes: Mapping[str, str]) -> Any:
        """An `Answer`, or the response that says why there is none."""
        if self.webrtc is None:
            return self._problem(501, "this server has no WebRTC; pip install 'bargein[webrtc]', or use its WebSocket")
        try:
            if not name:
                self.sessions.admit()  # before the offer is looked at
            return await self.webrtc.offer(sdp, name=name, address=_address(request), wishes=wishes)
        except RefusedError as error:
            return self._problem(503, str(error))
        except LookupError as error:
            return self._problem(404, str(error))
        except ValueError as error:
            return self._problem(400, str(error))

    async def resource(self, request: Any) -> Any:
        """What a WHIP client may do with its session: add addresses or restart ICE, and hang up."""
        if self.webrtc is None:
            return self._problem(404, "this server has no WebRTC")
        name = request.path_params["session"]
        try:
            if request.method == "DELETE":
                await self.webrtc.delete(name)
                return self.plain(status_code=200)
            answer = await self.webrtc.patch(name, (await self._body(request)).decode())
        except LookupError as error:
            return self._problem(404, str(error))
        except ValueError as error:
            return self._problem(400, str(error))
        kind = "application/trickle-ice-sdpfrag"
        return self.plain(answer, status_code=200 if answer else 204, media_type=kind)

    async def _body(self, request: Any) -> bytes:
        """The body, if it is neither too long nor too slow. Raises `ValueError`."""
        body = b""
        seconds = self.sessions.limits.open_seconds
        with anyio.move_on_after(seconds) as limit:
            async for piece in request.stream():
                body += piece
                if len(body) > OFFER_BYTES:
                    raise ValueError(f"more than {OFFER_BYTES} bytes")
        if limit.cancelled_caught:
            raise ValueError(f"it did not come within {seconds:g} s")
        return body

    def _problem(self, status: int, sentence: str) -> Any:
        return self.json({"error": sentence}, status_code=status)


def make_app(
    sessions: Sessions,
    *,
    brains: Sequence[Choice] = (),
    suggestions: Sequence[str] = (),
    metrics: Metrics,
    webrtc: Any = None,
    origins: Sequence[str] = (),
    authorize: Authorize | None = None,
    local: bool = False,
) -> Any:
    """An ASGI application (Starlette's), to be served alone or mounted in another.

    `local`: it is served for this machine only, and answers to no name that could be a stranger's. For the others see
    `serve_page`.
    """
    need("starlette", "server", "the server")
    from starlette.applications import Starlette  # noqa: PLC0415  # of the extra
    from starlette.middleware import Middleware  # noqa: PLC0415
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415
    from starlette.responses import FileResponse  # noqa: PLC0415
    from starlette.routing import Mount, Route, WebSocketRoute  # noqa: PLC0415
    from starlette.staticfiles import StaticFiles  # noqa: PLC0415

    app = App(
        sessions,
        brains=brains,
        suggestions=suggestions,
        metrics=metrics,
        webrtc=webrtc,
        origins=origins,
        authorize=authorize,
        local=local,
    )
    before = [Middleware(Guard, origins=origins, local=local)]
    if origins:
        names = ["Authorization", "Content-Type"]
        methods = ["GET", "POST", "PATCH", "DELETE"]
        before.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(origins),
                allow_methods=methods,
                allow_headers=names,
                expose_headers=["Location"],
            )
        )

    async def graph_page(request: Any) -> Any:
        return FileResponse(PAGE / "graph.html")

    return Starlette(
        middleware=before,
        routes=[
            Route("/choices", app.choices),
            Route("/healthz", app.healthy),
            Route("/readyz", app.ready),
            Route("/metrics", app.counted),
            Route("/sessions", app.live),
            Route("/graph", graph_page),
            Route("/graph.svg", app.graph),
            Route("/offer", app.offer, methods=["POST"]),
            Route("/whip", app.whip, methods=["POST"]),
            Route("/whip/{session}", app.resource, methods=["DELETE", "PATCH"], name="resource"),
            WebSocketRoute("/ws", app.socket),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
    )


def _ice(server: Any) -> dict[str, str]:
    """As a browser wants it. What it may use, whoever sees the page may know."""
    secret = {"username": server.username, "credential": server.credential} if server.username else {}
    return {"urls": server.url, **secret}


def _token(connection: Any) -> str:
    return bearer(connection.headers.get("authorization", "")) or str(connection.query_params.get("token", ""))


def _wishes(connection: Any) -> dict[str, str]:
    return {name: value for name, value in connection.query_params.items() if name != "token"}


def _address(connection: Any) -> str:
    client = connection.client
    return f"{client.host}:{client.port}" if client is not None else ""
