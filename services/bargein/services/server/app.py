"""The HTTP side of an agent: the page, signalling, the WebSocket, health, metrics, and drawings of running sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec

from bargein.pipeline.draw import svg
from bargein.pipeline.lowlevel import import_extra
from bargein.services.brain import find_brains
from bargein.services.failover import Failover
from bargein.services.media.ice import IceServer
from bargein.services.providers.brains import BrainChoice
from bargein.services.sockets.handshake import bearer_token, refuse_origin, repeated_header
from bargein.services.transports import (
    ConnectionRequest,
    LiveSession,
    RefusedError,
    Sessions,
    accept_websocket,
    serve_websocket_peer,
)
from bargein.services.transports.websocket.accept import Authorize, is_authorized, limit_waiting

from ._guard import Guard
from ._socket import AsgiSocket
from .metrics import Metrics

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.websockets import WebSocket

    from bargein.services.transports.webrtc import SdpAnswer, WebRtcServer

__all__ = ["make_app"]

PAGE = Path(__file__).parent / "page"
MAX_OFFER_BYTES = 256 * 2**10
"""Largest body of a request, in bytes. A browser's offer has about 6 kB."""
DRAWING_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""The content security policy of a drawn pipeline, which has inline styles."""
WRONG_TOKEN = "the token is missing or wrong; give it as Authorization: Bearer, or as ?token="


class _OfferRequest(msgspec.Struct, frozen=True):
    sdp: str
    params: dict[str, str] = {}
    session: str = ""
    resume: str = ""


_OFFER = msgspec.json.Decoder(_OfferRequest)


class _ProblemError(Exception):
    """A request is refused, with an HTTP status and a sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class App:
    """Answers the requests of one server."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        brains: Sequence[BrainChoice],
        suggestions: Sequence[str],
        metrics: Metrics,
        webrtc: WebRtcServer | None,
        origins: Sequence[str],
        authorize: Authorize | None,
        local: bool,
    ) -> None:
        responses = import_extra("starlette.responses", "server", "the server")
        self._json: type[Response] = responses.JSONResponse
        self._plain: type[Response] = responses.Response
        self._disconnected = import_extra("starlette.requests", "server", "the server").ClientDisconnect
        self._sessions = sessions
        self._brains = brains
        self._suggestions = suggestions
        self._metrics = metrics
        self._webrtc = webrtc
        self._origins = origins
        self._authorize = authorize
        self._checks_host = local or authorize is None
        self._accept = limit_waiting(sessions, accept_websocket)

    # What can be read -----------------------------------------------------------------------------------------------

    async def choices(self, request: Request) -> Response:
        """Return what the page needs before a session: brains, suggestions, transports and ICE servers."""
        transports = [{"name": "websocket", "title": "WebSocket"}]
        ice_servers: list[dict[str, str]] = []
        if self._webrtc is not None:
            transports.insert(0, {"name": "webrtc", "title": "WebRTC"})
            if await self._has_token(request):  # a TURN server's password is for authorized peers only
                ice_servers = [_ice_server(each) for each in self._webrtc.ice_servers]
        return self._json(
            {
                "brains": [
                    {
                        "name": each.name,
                        "title": each.title,
                        "missing": each.missing,
                        "sees": each.sees,
                        "suggestions": each.suggestions,
                    }
                    for each in self._brains
                ],
                "suggestions": list(self._suggestions),
                "transports": transports,
                "camera": self._webrtc is not None and self._webrtc.video_fps > 0,
                "iceServers": ice_servers,
            }
        )

    async def health(self, request: Request) -> Response:
        """Return 200: the process runs and answers (a liveness probe)."""
        return self._plain("ok\n", media_type="text/plain")

    async def ready(self, request: Request) -> Response:
        """Return 200 if there is room for one more session; 503 and the reason if not (a readiness probe)."""
        reason = self._sessions.refusal
        return self._plain(f"{reason or 'ready'}\n", media_type="text/plain", status_code=503 if reason else 200)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics for Prometheus."""
        return self._plain(self._metrics.text(), headers={"content-type": self._metrics.content_type})

    async def sessions(self, request: Request) -> Response:
        """Return the running sessions."""
        if not await self._has_token(request):
            return self._refuse(401, WRONG_TOKEN)
        now = anyio.current_time()
        shown = []
        for name, live in self._sessions.live.items():
            failover = _find_failover(live)
            shown.append(
                {
                    "name": name,
                    "brain": live.transport.peer.params.get("brain", ""),
                    "seconds": now - live.began,
                    "inside": "" if failover is None else failover.active,
                }
            )
        return self._json(shown)

    async def graph(self, request: Request) -> Response:
        """Return a drawing of a session's pipeline, with its counters; with `inside`, of the brain in its failover."""
        if not await self._has_token(request):
            return self._refuse(401, WRONG_TOKEN)
        live = self._sessions.live.get(request.query_params.get("session", ""))
        running = None if live is None else (live.graph, live.session)
        if live is not None and "inside" in request.query_params:
            failover = _find_failover(live)
            running = None if failover is None else failover.running
        if running is None:
            return self._plain("this session does not exist\n", status_code=404, media_type="text/plain")
        drawing = svg(running[0], running[1].statistics())
        policy = {"content-security-policy": DRAWING_POLICY}
        return self._plain(drawing, media_type="image/svg+xml", headers=policy)

    # Connecting -----------------------------------------------------------------------------------------------------

    async def _check(self, connection: HTTPConnection, *, new: bool = True) -> None:
        """Raise `_ProblemError` if a peer may not connect. A `new` one needs room as well."""
        if header := repeated_header(connection.headers.keys()):  # of WebSockets; `Guard` checks HTTP requests
            raise _ProblemError(400, f"there is more than one {header} header")
        origin, name = connection.headers.get("origin"), connection.headers.get("host", "")
        if reason := refuse_origin(origin, name, self._origins, local=self._checks_host):
            raise _ProblemError(403, reason)
        if not await self._has_token(connection):
            raise _ProblemError(401, WRONG_TOKEN)
        try:
            if new:
                self._sessions.admit_to_start(_address(connection))
        except RefusedError as error:
            raise _ProblemError(503, str(error)) from None

    async def _has_token(self, connection: HTTPConnection) -> bool:
        return self._authorize is None or await is_authorized(self._authorize, _token(connection))

    async def websocket(self, websocket: WebSocket) -> None:
        """Hold a conversation over a WebSocket."""
        try:
            await self._check(websocket)
        except _ProblemError as problem:
            await websocket.send_denial_response(self._refuse(problem.status, str(problem)))
            return
        await websocket.accept()
        request = ConnectionRequest(
            address=_address(websocket), params=_params(websocket), limits=self._sessions.limits
        )
        await serve_websocket_peer(AsgiSocket(websocket), self._sessions, request, accept=self._accept)

    async def offer(self, request: Request) -> Response:
        """Answer a WebRTC offer in JSON: the first one of a new peer, or a later one of the peer named by `session`."""
        try:
            await self._check(request, new=False)
            body = await self._body(request)
            answer = await self._answer(request, _OFFER.decode(body))
        except _ProblemError as problem:
            return self._refuse(problem.status, str(problem))
        except ValueError as error:  # of msgspec
            return self._refuse(400, f'expected {{"sdp": ..., "params": {{...}}}}: {error}')
        return self._json({"type": "answer", "sdp": answer.sdp, "session": answer.name})

    async def whip(self, request: Request) -> Response:
        """Answer a WebRTC offer as WHIP has it (RFC 9725)."""
        try:
            await self._check(request, new=False)
            sdp = (await self._body(request)).decode()
            answer = await self._answer(request, _OfferRequest(sdp, _params(request)))
        except _ProblemError as problem:
            return self._refuse(problem.status, str(problem))
        except UnicodeDecodeError as error:
            return self._refuse(400, f"expected an offer, as application/sdp: {error}")
        # The location is relative, because a proxy may serve this one under another path.
        headers = {"location": f"whip/{answer.name}"}
        return self._plain(answer.sdp, status_code=201, media_type="application/sdp", headers=headers)

    async def _answer(self, request: Request, offer: _OfferRequest) -> SdpAnswer:
        """Return the answer to an offer. Raises `_ProblemError`."""
        if self._webrtc is None:
            raise _ProblemError(501, "this server has no WebRTC; pip install 'bargein[webrtc]', or use its WebSocket")
        try:
            address = _address(request)
            if not offer.session:
                self._sessions.admit(address, offer.resume)  # before the offer is parsed, which costs time
            return await self._webrtc.offer(
                offer.sdp, name=offer.session, address=address, params=offer.params, resume=offer.resume
            )
        except RefusedError as error:
            raise _ProblemError(503, str(error)) from None
        except LookupError as error:
            raise _ProblemError(404, str(error)) from None
        except ValueError as error:
            raise _ProblemError(400, str(error)) from None

    async def resource(self, request: Request) -> Response:
        """Add addresses to a WHIP session or restart its ICE (PATCH), or end it (DELETE)."""
        if self._webrtc is None:
            return self._refuse(404, "this server has no WebRTC")
        name = request.path_params["session"]
        try:
            if request.method == "DELETE":
                await self._webrtc.delete(name)
                return self._plain(status_code=200)
            answer = await self._webrtc.patch(name, (await self._body(request)).decode())
        except _ProblemError as problem:
            return self._refuse(problem.status, str(problem))
        except LookupError as error:
            return self._refuse(404, str(error))
        except ValueError as error:
            return self._refuse(400, str(error))
        kind = "application/trickle-ice-sdpfrag"
        return self._plain(answer, status_code=200 if answer else 204, media_type=kind)

    async def _body(self, request: Request) -> bytes:
        """Return the body. Raises `_ProblemError` if it is too long or too slow."""
        body = b""
        seconds = self._sessions.limits.open_seconds
        with anyio.move_on_after(seconds) as limit:
            try:
                async for piece in request.stream():
                    body += piece
                    if len(body) > MAX_OFFER_BYTES:
                        raise _ProblemError(400, f"the body has more than {MAX_OFFER_BYTES} bytes")
            except self._disconnected:
                raise _ProblemError(400, "the connection was closed within the body") from None
        if limit.cancelled_caught:
            raise _ProblemError(400, f"the body did not come within {seconds:g} s")
        return body

    def _refuse(self, status: int, sentence: str) -> Response:
        return self._json({"error": sentence}, status_code=status)


def make_app(
    sessions: Sessions,
    *,
    brains: Sequence[BrainChoice] = (),
    suggestions: Sequence[str] = (),
    metrics: Metrics,
    webrtc: WebRtcServer | None = None,
    origins: Sequence[str] = (),
    authorize: Authorize | None = None,
    local: bool = False,
) -> Starlette:
    """Return the ASGI application, to be served alone or mounted in another.

    Args:
        sessions: Runs the sessions.
        brains: Brains that the page offers.
        suggestions: Sentences that the page offers to say, for brains without their own.
        metrics: The counters behind `/metrics`.
        webrtc: Serves WebRTC; None for WebSockets only.
        origins: Other pages that may talk to this server, such as `https://example.com`; `*` for all.
        authorize: Decides by a token whether a peer may connect; None to allow every peer.
        local: Whether the server is for this machine only. Such a server, and one without `authorize`, refuses host
            names that may belong to a hostile page. Add further names of the server to `origins`.

    Raises:
        ModuleNotFoundError: Starlette is not installed (extra `server`).
    """
    import_extra("starlette", "server", "the server")
    from starlette.applications import Starlette  # noqa: PLC0415 - of the extra

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
    middleware = _middleware(origins, local=local, checks_host=local or authorize is None)
    return Starlette(middleware=middleware, routes=_routes(app))


def _middleware(origins: Sequence[str], *, local: bool, checks_host: bool) -> list[Middleware]:
    from starlette.middleware import Middleware  # noqa: PLC0415 - of the extra
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415

    # Monitoring calls a server in a network by any name. These paths return nothing secret.
    open_paths = () if local else ("/healthz", "/readyz", "/metrics")
    middleware = [Middleware(Guard, origins=origins, checks_host=checks_host, open_paths=open_paths)]
    if origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Location"],
        )
        middleware.append(cors)
    return middleware


def _routes(app: App) -> list[BaseRoute]:
    from starlette.responses import FileResponse  # noqa: PLC0415 - of the extra
    from starlette.routing import Mount, Route, WebSocketRoute  # noqa: PLC0415
    from starlette.staticfiles import StaticFiles  # noqa: PLC0415

    async def graph_page(request: Request) -> Response:
        return FileResponse(PAGE / "graph.html")

    return [
        Route("/choices", app.choices),
        Route("/healthz", app.health),
        Route("/readyz", app.ready),
        Route("/metrics", app.metrics),
        Route("/sessions", app.sessions),
        Route("/graph", graph_page),
        Route("/graph.svg", app.graph),
        Route("/offer", app.offer, methods=["POST"]),
        Route("/whip", app.whip, methods=["POST"]),
        Route("/whip/{session}", app.resource, methods=["DELETE", "PATCH"], name="resource"),
        WebSocketRoute("/ws", app.websocket),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]


def _find_failover(live: LiveSession) -> Failover | None:
    """Return the failover of a session, if it has one. The brain of a failover runs in an inner session with its own
    graph."""
    return next((brain for brain in find_brains(live.graph) if isinstance(brain, Failover)), None)


def _ice_server(server: IceServer) -> dict[str, str]:
    """Return an ICE server as a dictionary that browsers accept (`RTCIceServer`)."""
    secret = {"username": server.username, "credential": server.credential} if server.username else {}
    return {"urls": server.url, **secret}


def _token(connection: HTTPConnection) -> str:
    return bearer_token(connection.headers.get("authorization", "")) or connection.query_params.get("token", "")


def _params(connection: HTTPConnection) -> dict[str, str]:
    return {name: value for name, value in connection.query_params.items() if name != "token"}


def _address(connection: HTTPConnection) -> str:
    client = connection.client
    return f"{client.host}:{client.port}" if client is not None else ""
