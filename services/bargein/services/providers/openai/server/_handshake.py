"""Which clients may open a session: the path, the page, the key and the model of a WebSocket's request."""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection
from typing import Any

from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.sockets.handshake import (
    bearer_token,
    http_response,
    query_parameter,
    refuse_origin,
    repeated_header,
    request_path,
)

from ._faults import Faults

__all__ = ["Handshake", "choose_subprotocol"]

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""The beginning of a subprotocol that holds a key: browsers cannot set headers of a WebSocket."""


class Handshake:
    """Decides which requests become sessions.

    Args:
        language: Says at which path it is served, and where the key and the model are.
        api_keys: Keys that are accepted; None accepts clients without a key.
        origins: Web pages that may connect besides the server's own; `*` for all.
        local: The server is for its own machine only, so that its name is checked as well.
        faults: Faults on demand.
    """

    def __init__(
        self,
        language: ServerLanguage,
        *,
        api_keys: Collection[str] | None,
        origins: Collection[str],
        local: bool,
        faults: Faults | None,
    ) -> None:
        self._language = language
        self._paths = {language.path, f"/{language.path.rpartition('/')[2]}"}
        self._api_keys = api_keys
        self._origins = origins
        self._local = local
        self._faults = faults or Faults()

    def refusal(self, request: Any, *, full: bool) -> Any:
        """Return the HTTP response that refuses a request; None for one that may go on.

        Args:
            request: A `websockets.http11.Request`.
            full: The maximum number of sessions is running.
        """
        if self._faults.html_answer:
            page = b"<!doctype html><title>Hello</title><p>A web page.</p>"
            return http_response(200, "OK", page, "text/html; charset=utf-8")
        if self._faults.refuse_status:
            return _problem(self._faults.refuse_status, "Refused", "A fault on demand.", "server_error", "refused")
        if name := repeated_header((name for name, _ in request.headers.raw_items()), self._language.key_header):
            message = f"The header {name} is there more than once."
            return _problem(400, "Bad Request", message, "invalid_request_error", None)
        if (path := request_path(request)) not in self._paths:
            return _problem(404, "Not Found", f"Invalid URL (GET {path})", "invalid_request_error", None)
        origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
        if reason := refuse_origin(origin, host, self._origins, local=self._local):
            return _problem(403, "Forbidden", reason, "invalid_request_error", None)
        if (problem := self._key_problem(request)) is not None:
            return problem
        parameter = self._language.model
        if parameter and not query_parameter(request, parameter):
            message = f"You must provide a {parameter} parameter."
            return _problem(400, "Bad Request", message, "invalid_request_error", f"missing_{parameter}")
        if full:
            message = "The server has reached its maximum number of sessions. Try again later."
            return _problem(503, "Service Unavailable", message, "server_error", "server_overloaded")
        return None

    def _key_problem(self, request: Any) -> Any:
        if self._api_keys is None:
            return None
        header = self._language.key_header
        key = _key(request, header)
        if not key:
            where = f"an {header} header" if header else "an Authorization header, as Bearer"
            message = f"You didn't provide an API key. Give it in {where}."
            return _problem(401, "Unauthorized", message, "invalid_request_error", None)
        if not any(hmac.compare_digest(key.encode(), each.encode()) for each in self._api_keys):
            message = "Incorrect API key provided."
            return _problem(401, "Unauthorized", message, "invalid_request_error", "invalid_api_key")
        return None


def _key(request: Any, header: str) -> str:
    """Return the key of a request: of a separate header, of `Authorization`, or of a subprotocol."""
    if header and (value := request.headers.get(header)):
        return str(value)
    if token := bearer_token(request.headers.get("Authorization", "")):
        return token
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    keys = (name.strip().removeprefix(KEY_SUBPROTOCOL) for name in offered if name.strip().startswith(KEY_SUBPROTOCOL))
    return next(keys, "")


def choose_subprotocol(connection: Any, offered: Collection[str]) -> str | None:
    """Return the subprotocol that is answered to a client that offers some."""
    return "realtime" if "realtime" in offered else None


def _problem(status: int, phrase: str, message: str, kind: str, code: str | None) -> Any:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return http_response(status, phrase, json.dumps(body, indent=2).encode(), "application/json")
