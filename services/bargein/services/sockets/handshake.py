"""The HTTP request that opens a WebSocket: how a server reads and checks it, and how it refuses one."""

from __future__ import annotations

import importlib
import ipaddress
import socket
from collections import Counter
from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:  # websockets is an optional dependency
    from websockets.http11 import Request, Response

__all__ = [
    "OpeningConnection",
    "bearer_token",
    "http_response",
    "is_address_or_localhost",
    "query_parameter",
    "refuse_host",
    "refuse_origin",
    "repeated_header",
    "request_path",
]

SINGLE_HEADERS = ("host", "origin", "authorization")
"""Headers that decide whether a client may connect. If one is sent twice, a proxy may have checked the first, and this
server may read the second."""


def repeated_header(names: Iterable[str], *more: str) -> str:
    """Return the name of a security-relevant header that is repeated; an empty string if there is none.

    Args:
        names: The names of all headers of a request, with repetitions.
        more: Further headers to check, such as one with a key.
    """
    counts = Counter(name.lower() for name in names)
    return next((name for name in (*SINGLE_HEADERS, *map(str.lower, more)) if counts[name] > 1), "")


class OpeningConnection(Protocol):
    """A WebSocket that is not open yet, as `websockets` passes it to `process_request`."""

    def respond(self, status: HTTPStatus, text: str) -> Response:
        """Return an HTTP response that refuses the connection.

        Args:
            status: The HTTP status.
            text: The body.
        """


def request_path(request: Request) -> str:
    """Return the path of a request without its query and without a slash at its end; `/` for the root.

    Args:
        request: A `websockets.http11.Request`, as `listen` passes it.
    """
    path: str = urlsplit(request.path).path.rstrip("/")
    return path or "/"


def query_parameter(request: Request, name: str) -> str:
    """Return the first value of a parameter of a request's address; empty where it is not there.

    Args:
        request: A `websockets.http11.Request`, as `listen` passes it.
        name: Name of the parameter.
    """
    values: list[str] = parse_qs(urlsplit(request.path).query).get(name, [""])
    return values[0]


def bearer_token(header: str) -> str:
    """Return the token of an `Authorization` header; empty where it holds no bearer token.

    Args:
        header: Value of the `Authorization` header.
    """
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def http_response(status: int, phrase: str, body: bytes, content_type: str = "text/plain; charset=utf-8") -> Response:
    """Return an HTTP answer that refuses a WebSocket, for `process_request` of `listen`.

    Args:
        status: The HTTP status.
        phrase: Its reason phrase, such as "Not Found".
        body: The body.
        content_type: The MIME type of the body.

    Returns:
        A `websockets.http11.Response`.
    """
    headers = importlib.import_module("websockets.datastructures").Headers(
        {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
    )
    response: Response = importlib.import_module("websockets.http11").Response(status, phrase, headers, body)
    return response


def refuse_origin(origin: str | None, host: str, origins: Collection[str], *, local: bool) -> str:
    """Return why a request may not be answered, or an empty string if it may.

    A page may talk to its own server, and to a server that names it in `origins`. Programs send no origin and are
    allowed.

    Args:
        origin: The `Origin` header; None where there is none.
        host: The `Host` header.
        origins: Other pages that may talk to this server, such as `https://example.com`; `*` for all.
        local: Whether to check the host as in `refuse_host`. Set it for a server that serves this machine only, and for
            one that asks for no token.
    """
    if origin is None or "*" in origins or origin in origins:
        return ""
    if local and (reason := refuse_host(host, origins)):
        return reason
    if host and _host_of(origin) == host:
        return ""
    return f"a page of {origin} may not talk to this agent; name it in origins="


def refuse_host(host: str, origins: Collection[str]) -> str:
    """Return why a server refuses a host name, or an empty string if it accepts it.

    A hostile page can let its own name resolve to this server's address (DNS rebinding), for example to 127.0.0.1. The
    browser then believes that this server is the page's own. But the `Host` header still holds the hostile name. IP
    addresses and the name of this machine cannot be rebound, so they are accepted. Other names must be in `origins`.

    Args:
        host: The `Host` header.
        origins: Pages that may talk to this server; their hosts are accepted too.
    """
    if not host or "*" in origins or is_address_or_localhost(host) or host in map(_host_of, origins):
        return ""
    own = socket.gethostname().lower()
    if own and host.partition(":")[0].lower() in (own, f"{own}.local"):
        return ""
    return f"this server is not called {host}; name its page in origins= (demo: --origin)"


def is_address_or_localhost(host: str) -> bool:
    """Return whether a host, perhaps with a port, is an IP address or a name of this machine.

    Args:
        host: The host, such as `localhost:8000` or `[::1]`.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_of(origin: str) -> str:
    """Return the host and port of an origin; an empty string for an origin that is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
