"""Errors of language models: what went wrong, whether to try again, and what to do. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Final, Literal

import msgspec

from bargein.pipeline import BargeinError
from bargein.services.sockets.retry import backoff_seconds, retry_after_seconds

from .keys import clean_text

__all__ = ["FaultKind", "LanguageModelError", "http_error", "retry_wait", "stream_error"]

FaultKind = Literal[
    "key",
    "credit",
    "model",
    "address",
    "context",
    "request",
    "filtered",
    "busy",
    "server",
    "unreachable",
    "cut",
    "unreadable",
    "slow",
]
FATAL: Final = frozenset({"key", "credit", "model", "address", "context", "request"})
"""Kinds where retrying cannot succeed."""
PASSING: Final = frozenset({"busy", "server", "unreachable", "cut", "unreadable"})
"""Kinds where a retry can succeed."""
ADVICE: Final[dict[str, str]] = {
    "key": "the key is not accepted, or may not use this; look at api_key",
    "credit": "there is no credit left; look at the account",
    "model": "no such model, or no such address; look at model and url",
    "address": "this is not the address of a language model; look at url",
    "context": "the conversation is longer than the model can read; let the history forget more, or take a model "
    "that reads more",
    "request": "the request is refused; look at the options and at extra",
    "filtered": "the provider's filter has stopped the answer; look at the instructions",
    "busy": "too many requests, or too busy; try again later, or raise the account's limits",
    "server": "the provider has an internal fault; try again later",
}
_CONTEXT = re.compile(
    r"context.?(length|size|window)|maximum context|prompt is too long|too many tokens",
    re.I,
)
_CREDIT = re.compile(
    r"insufficient.?(quota|credit|balance|funds)|credit balance|billing|exceeded your current quota", re.I
)
_TYPES: Final[dict[str, FaultKind]] = {
    "authentication_error": "key",
    "permission_error": "key",
    "invalid_api_key": "key",
    "billing_error": "credit",
    "insufficient_quota": "credit",
    "billing_hard_limit_reached": "credit",
    "not_found_error": "model",
    "model_not_found": "model",
    "request_too_large": "context",
    "context_length_exceeded": "context",
    "exceed_context_size_error": "context",
    "content_filter": "filtered",
    "rate_limit_error": "busy",
    "rate_limit_exceeded": "busy",
    "overloaded_error": "busy",
    "api_error": "server",
    "server_error": "server",
    "timeout_error": "server",
}
_STATUS: Final[dict[int, FaultKind]] = {
    401: "key",
    402: "credit",
    403: "key",
    404: "model",
    408: "server",
    409: "server",
    413: "context",
    425: "busy",
    429: "busy",
    529: "busy",
}


class LanguageModelError(BargeinError):
    """A language model has not answered, or not completely. The message says what happened and what to do.

    Args:
        message: What happened and what to do about it, in a sentence.
        fatal: Whether the same request would fail again. Default False.
        kind: What went wrong. Default `"request"`.
        status: The HTTP status; None if there was no answer.
        retry_after_seconds: How long the server asks the client to wait, in seconds; None if it does not say.
    """

    def __init__(
        self,
        message: str,
        fatal: bool = False,
        *,
        kind: FaultKind = "request",
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fatal = fatal
        """Whether the same request would fail again."""
        self.kind: FaultKind = kind
        """What went wrong. A `"context"` fault, for example, is cured by a shorter conversation."""
        self.status = status
        """The HTTP status, if there was one."""
        self.retry_after_seconds = retry_after_seconds
        """How long the provider asks to wait before the next request, in seconds."""


def http_error(
    source: str, status: int, body: bytes, headers: Mapping[str, str], secret: str = ""
) -> LanguageModelError:
    """Return the error for an HTTP response that is not an answer.

    Args:
        source: The address that was asked.
        status: The HTTP status.
        body: The body, or its beginning.
        headers: The headers, by lower-case names.
        secret: The key, which some providers repeat; it is removed.
    """
    text, kind = _text(body, secret), _kind(body, status)
    if _is_page(body, headers):
        text = "a web page"
        kind = "server" if status >= 500 else "key" if status in (401, 403) else "address"
    elif 300 <= status < 400:
        target = headers.get("location", "nowhere").partition("?")[0]
        text, kind = clean_text(f"a redirection to {target}", secret), "address"
    return _error(f"{source} answers {status}", text, kind, status, retry_after_seconds(headers))


def stream_error(source: str, error: object, secret: str = "") -> LanguageModelError:
    """Return the error for an error object within a stream.

    Args:
        source: The address that was asked.
        error: The object, decoded from JSON.
        secret: The key, which some providers repeat; it is removed.
    """
    body = msgspec.json.encode({"error": error})
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    if isinstance(error, dict) and error.get("type") == "invalid_request_error":
        status = 400
    return _error(f"{source} gives up", _text(body, secret), _kind(body, status), None, None)


def _error(what: str, text: str, kind: FaultKind, status: int | None, wait: float | None) -> LanguageModelError:
    text = f" ({text})" if text else ""
    message = f"{what}: {ADVICE[kind]}{text}"
    return LanguageModelError(message, kind in FATAL, kind=kind, status=status, retry_after_seconds=wait)


def _is_page(body: bytes, headers: Mapping[str, str]) -> bool:
    return "html" in headers.get("content-type", "") or body.lstrip()[:1] == b"<"


def _parse(body: bytes) -> tuple[str, list[str]]:
    """Return the message and the codes of an error's body. Providers nest them in different ways."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "replace"), []
    while isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict) and found.get("error"):
        found = found["error"]
    if not isinstance(found, dict):
        return str(found), []
    message = found.get("message") or found.get("detail") or ""
    return str(message), [str(found.get(key)) for key in ("code", "type") if found.get(key)]


def _text(body: bytes, secret: str) -> str:
    message, codes = _parse(body)
    return clean_text(message or ", ".join(codes), secret)


def _kind(body: bytes, status: int) -> FaultKind:
    message, codes = _parse(body)
    for code in codes:
        if code in _TYPES and not (code == "rate_limit_error" and _CREDIT.search(message)):
            return _TYPES[code]
    if _CREDIT.search(message) and status in (400, 402, 403, 429):
        return "credit"
    if _CONTEXT.search(message) and status in (400, 413, 422, 500):
        return "context"
    return _STATUS.get(status, "server" if status >= 500 else "request")


def retry_wait(error: LanguageModelError, attempt: int, random: Random) -> float | None:
    """Return how many seconds to wait before the next try.

    Args:
        error: What the last try met.
        attempt: How many tries there were, from 1.
        random: Source of the jitter.

    Returns:
        Seconds, or None if a retry cannot succeed or would come too late.
    """
    if error.kind not in PASSING or error.fatal:
        return None
    if error.kind == "unreachable" and attempt == 1:
        return 0.0  # most often a kept connection that the server has closed meanwhile
    return backoff_seconds(attempt, error.retry_after_seconds, random)
