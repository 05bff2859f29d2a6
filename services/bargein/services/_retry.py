"""When a provider is asked again. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

__all__ = ["PASSING", "asked_wait", "pause"]

PASSING: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses that another try may not meet."""
FIRST_SECONDS, MOST_SECONDS, JITTER = 0.25, 4.0, 0.3


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """For how many seconds an answer asks to be left alone: `retry-after-ms`, or `retry-after` in seconds or a date.

    Header names are lower-case.
    """
    try:
        if (ms := headers.get("retry-after-ms")) is not None:
            return _sensible(float(ms) / 1000)
        after = headers.get("retry-after")
        if after is None:
            return None
        if re.fullmatch(r"\s*[\d.]+\s*", after):
            return _sensible(float(after))
        until, now = parsedate_to_datetime(after), parsedate_to_datetime(headers.get("date", ""))
        return _sensible((until - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _sensible(seconds: float) -> float | None:
    return max(seconds, 0.0) if seconds < 1e9 else None


def pause(attempt: int, asked: float | None, random: Random) -> float | None:
    """Seconds before the next try, after `attempt` tries; None when what is asked for is longer than anybody waits."""
    wait = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** (attempt - 1)) * random.uniform(1 - JITTER, 1 + JITTER)
    if asked is None:
        return wait
    return None if asked > MOST_SECONDS else asked + wait * JITTER
