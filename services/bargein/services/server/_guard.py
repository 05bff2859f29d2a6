"""`Guard`: the checks before every HTTP request, and the security headers of every response."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bargein.services.sockets.handshake import refuse_host, repeated_header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]


class Guard:
    """An ASGI middleware. It refuses unknown host names and repeated headers, and adds security headers to responses.

    WebSocket requests pass unchecked here, because `App` checks them.

    Args:
        app: The application inside.
        origins: Other pages that may frame this one and talk to it; `*` for all.
        checks_host: Whether to refuse host names that may belong to a hostile page.
        open_paths: Paths at which any host name is accepted.
    """

    def __init__(
        self, app: ASGIApp, *, origins: Collection[str], checks_host: bool, open_paths: Collection[str] = ()
    ) -> None:
        self._app = app
        self._origins = origins
        self._checks_host = checks_host
        self._open_paths = open_paths
        framing = "*" if "*" in origins else " ".join(("'self'", *origins))
        self._headers = [
            (name.encode(), value.encode())
            for name, value in {
                # Safari before 15.4 does not count ws: as 'self'.
                "content-security-policy": "default-src 'self'; connect-src 'self' ws: wss:; "
                "media-src 'self' blob: mediastream:; object-src 'none'; "
                f"base-uri 'none'; form-action 'self'; frame-ancestors {framing}",
                "x-content-type-options": "nosniff",
                "referrer-policy": "no-referrer",  # the page's URL may hold a token
            }.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on and add the headers to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                names = {name.lower() for name, _ in headers}  # a response may have its own policy
                message["headers"] = [*headers, *(each for each in self._headers if each[0] not in names)]
            await send(message)

        if repeated := repeated_header(key.decode("latin-1") for key, _ in scope["headers"]):
            await _respond(send_with_headers, 400, f"there is more than one {repeated} header")
            return
        name = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "")
        # Browsers send no origin when they load the page, so its host is checked here. Requests that start a session
        # have an origin, which `App` checks.
        checked = scope["method"] in ("GET", "HEAD") and self._checks_host and scope["path"] not in self._open_paths
        if checked and (reason := refuse_host(name, self._origins)):
            await _respond(send_with_headers, 421, reason)
            return
        await self._app(scope, receive, send_with_headers)


async def _respond(send: Send, status: int, reason: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
