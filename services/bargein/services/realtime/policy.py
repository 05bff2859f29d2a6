"""When and how often to try again."""

from __future__ import annotations

import math
from random import Random

import msgspec

__all__ = ["ReconnectPolicy"]


class ReconnectPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a lost connection is restored, and when a session is replaced before it runs out."""

    max_attempts: int = 5
    """How often in a row, before it is given up. 0 means never again."""
    first_seconds: float = 0.5
    """How long before the second attempt; the first follows at once, unless it is the very first connection."""
    max_seconds: float = 10.0
    """How long at most."""
    jitter: float = 0.3
    """Each wait is longer or shorter by up to this share, so that a thousand callers do not come back at once."""
    ready_seconds: float = 15.0
    """How long a session may take to become ready."""
    silent_seconds: float = 20.0
    """How long the provider may be silent while it owes an answer, before the connection counts as dead."""
    renew_seconds: float = 60.0
    """So long before a session's limit it is replaced, in the first pause."""
    gap_seconds: float = 15.0
    """How much of the user's sound is kept while there is no connection; of more, the oldest is dropped and counted."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"ReconnectPolicy({name}={value}): expected a number, 0 or more")

    def wait(self, attempt: int, random: Random) -> float:
        """Seconds before an attempt, counted from 1."""
        if attempt <= 1:
            return 0.0
        wait = min(self.max_seconds, self.first_seconds * 2.0 ** (attempt - 2))
        return wait * random.uniform(1 - self.jitter, 1 + self.jitter)
