"""Errors of language models: what went wrong, and whether a retry can succeed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from bargein.services.providers._shared.model_error import LanguageModelError, http_error, retry_wait, stream_error


def error(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, error("Incorrect API key", code="invalid_api_key"), "key"),
        (403, b"{}", "key"),
        (404, error("model 'x' not found, try pulling it first"), "model"),
        (400, error("This model's maximum context length is 10 tokens", code="context_length_exceeded"), "context"),
        (400, b'{"object": "error", "message": "This model\'s maximum context length is 10 tokens"}', "context"),
        (400, error("exceeds the available context size", type="exceed_context_size_error", code=400), "context"),
        (400, error("Unsupported parameter: 'max_tokens'"), "request"),
        (422, b'{"detail": "no"}', "request"),
        (429, error("Rate limit reached", code="rate_limit_exceeded"), "busy"),
        (429, error("You exceeded your current quota", code="insufficient_quota"), "credit"),
        (500, b"", "server"),
        (503, error("Loading model"), "server"),
        (529, b"{}", "busy"),
        (502, b"<html>Bad gateway</html>", "server"),
        (404, b"<html>Not found</html>", "address"),
        (302, b"", "address"),
    ],
)
def test_refusals_are_distinguished(status: int, body: bytes, kind: str) -> None:
    """Each refusal has its kind, which says whether a retry can succeed."""
    refusal = http_error("it", status, body, {})
    assert (refusal.kind, refusal.status) == (kind, status)
    assert refusal.fatal == (kind not in ("busy", "server"))


def test_retries_are_bounded_and_scattered() -> None:
    """Waits grow up to a bound, differ from caller to caller, and honour the server's wish or give up."""
    fault = LanguageModelError("x", kind="server")
    waits = [retry_wait(fault, attempt, random.Random(1)) or 0 for attempt in range(1, 20)]
    assert 0 < waits[0] < waits[2] < max(waits) <= 5.2
    assert retry_wait(fault, 1, random.Random(2)) != waits[0]
    assert (retry_wait(LanguageModelError("x", kind="busy", retry_after_seconds=3.0), 1, random.Random(1)) or 0) >= 3
    assert retry_wait(LanguageModelError("x", kind="busy", retry_after_seconds=60.0), 1, random.Random(1)) is None
    assert retry_wait(LanguageModelError("x", True, kind="key"), 1, random.Random(1)) is None


@pytest.mark.parametrize("before", [0, 294, 298])
def test_a_key_is_removed_before_the_text_is_cut(before: int) -> None:
    """No part of it is left, wherever it stands in what the provider says."""
    text = "x" * before + "s3cret-key"
    assert "s3" not in str(http_error("it", 401, error(text), {}, "s3cret-key"))
    assert "s3" not in str(stream_error("it", {"message": text}, "s3cret-key"))
