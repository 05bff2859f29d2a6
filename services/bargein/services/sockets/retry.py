"""When to send a failed request again. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

__all__ = ["RETRYABLE_STATUSES", "backoff_seconds", "retry_after_seconds"]

RETRYABLE_STATUSES: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses after which the same request may succeed."""

FIRST_SECONDS: Final = 0.25
"""Wait before the second attempt, in seconds. Each further wait is twice as long."""

MAX_SECONDS: Final = 4.0
"""Longest wait, in seconds. The user hears nothing in the meantime."""

JITTER: Final = 0.3
"""Each wait varies by up to this share, so that many clients do not come back at the same moment."""

MAX_PLAUSIBLE_SECONDS: Final = 1e9
"""A `retry-after` of more seconds than this (about 30 years) is not plausible and is ignored."""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds a response asks the client to wait, or None if it does not say.

    Reads `retry-after-ms`, or `retry-after` with a number of seconds or a date. A date is compared with the response's
    own `date`, never with the clock of this machine, which may be wrong.

    Args:
        headers: The response's headers, with lower-case names.
    """
    try:
        if (ms := headers.get("retry-after-ms")) is not None:
            return _plausible(float(ms) / 1000)
        after = headers.get("retry-after")
        if after is None:
            return None
        if re.fullmatch(r"\s*[\d.]+\s*", after):
            return _plausible(float(after))
        until, now = parsedate_to_datetime(after), parsedate_to_datetime(headers.get("date", ""))
        return _plausible((until - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _plausible(seconds: float) -> float | None:
    """Return the seconds, at least 0, or None if no server can mean them (also NaN)."""
    return max(seconds, 0.0) if seconds < MAX_PLAUSIBLE_SECONDS else None


def backoff_seconds(attempt: int, retry_after_seconds: float | None, random: Random) -> float | None:
    """Return how many seconds to wait before the next attempt, or None to give up.

    Args:
        attempt: Number of attempts so far, from 1.
        retry_after_seconds: For how many seconds the server asks the client to wait; None if it does not say. None is
            returned where this is longer than `MAX_SECONDS`.
        random: Source of the jitter.
    """
    wait = min(MAX_SECONDS, FIRST_SECONDS * 2.0 ** (attempt - 1)) * random.uniform(1 - JITTER, 1 + JITTER)
    if retry_after_seconds is None:
        return wait
    return None if retry_after_seconds > MAX_SECONDS else retry_after_seconds + wait * JITTER
