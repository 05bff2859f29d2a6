"""The HTTP request that opens a WebSocket: what a server reads of it, and how it refuses one."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:  # websockets is an optional dependency
    from websockets.http11 import Request, Response

__all__ = [
    "OpeningConnection",
    "bearer_token",
    "http_response",
    "query_parameter",
    "repeated_header",
    "request_path",
]

SINGLE_HEADERS = ("host", "origin", "authorization")
"""Headers that decide whether a client is let in. With two of one, a proxy before this server may have checked the
other one than is read here."""


def repeated_header(names: Iterable[str], *more: str) -> str:
    """Return a header that decides whether a client is let in and is there more than once; empty if there is none.

    Args:
        names: The names of all headers of a request, each as often as it is there.
        more: Other headers that decide, such as one with a key.
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
