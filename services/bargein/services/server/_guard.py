"""What stands before every request: the server's own name, and what browsers must not do with what it gives."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..transports._origin import misnamed

__all__ = ["Guard"]


class Guard:
    """An ASGI application around another. WebSockets pass it by: they have a refusal of their own."""

    def __init__(self, app: Any, *, origins: Collection[str], local: bool) -> None:
        self._app = app
        self._origins = origins
        self._local = local
        framing = "*" if "*" in origins else " ".join(("'self'", *origins))
        self._headers = [
            (name.encode(), value.encode())
            for name, value in {
                # Safari before 15.4 does not count ws: among 'self'.
                "content-security-policy": "default-src 'self'; connect-src 'self' ws: wss:; "
                "media-src 'self' blob: mediastream:; object-src 'none'; "
                f"base-uri 'none'; form-action 'self'; frame-ancestors {framing}",
                "x-content-type-options": "nosniff",
                "referrer-policy": "no-referrer",  # the page's address may hold a token
            }.items()
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse, or answer with those headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                own = {name.lower() for name, _ in given}  # an answer may have a policy of its own
                message["headers"] = [*given, *(each for each in self._headers if each[0] not in own)]
            await send(message)

        name = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "")
        reads = scope["method"] in ("GET", "HEAD")  # without an origin; with one, who comes in is asked for it
        if reads and self._local and (why := misnamed(name, self._origins)):
            await guarded({"type": "http.response.start", "status": 421, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})
            return
        await self._app(scope, receive, guarded)
