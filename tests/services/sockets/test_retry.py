"""How long to wait before a failed request is sent again."""

from __future__ import annotations

import random

import pytest

from bargein.services.sockets.retry import JITTER, MAX_SECONDS, backoff_seconds, retry_after_seconds
from bargein.services.sockets.text import clean


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "2"}, 0.25),
        ({"retry-after-ms": "-250"}, 0.0),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after-ms": "inf"}, None),
        ({"retry-after": "1.2.3"}, None),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:07 GMT", "date": "Fri, 01 Jan 2027 00:00:00 GMT"}, 7.0),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:07 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """The wish of the server is read in seconds, in milliseconds, and as a date beside the server's own date."""
    assert retry_after_seconds(headers) == seconds


def test_waits_grow_up_to_a_bound() -> None:
    """Waits double up to a maximum and differ between clients. A server's wish is kept, or the client gives up."""
    waits = [backoff_seconds(attempt, None, random.Random(1)) or 0 for attempt in range(1, 20)]
    assert 0 < waits[0] < waits[2] < max(waits) <= MAX_SECONDS * (1 + JITTER)
    assert backoff_seconds(1, None, random.Random(2)) != waits[0]
    assert (backoff_seconds(1, 3.0, random.Random(1)) or 0) >= 3.0
    assert backoff_seconds(1, MAX_SECONDS + 1, random.Random(1)) is None


def test_lone_surrogates_are_replaced() -> None:
    """Text with half of a surrogate pair can be sent; all other text stays as it is."""
    assert clean("a\ud800b") == "a?b"
    assert clean("grüß 🙂") == "grüß 🙂"
