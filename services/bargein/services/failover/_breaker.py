"""How often a brain may fail before it is left alone for a while."""

from __future__ import annotations

from collections import deque

import anyio

__all__ = ["Breaker"]


class Breaker:
    """Opens when a brain fails too often, and closes again after some time.

    Args:
        max_failures: The number of failures within `window_seconds` that opens it.
        window_seconds: Over how long failures are counted, in seconds.
        cooldown_seconds: How long it stays open, in seconds.
    """

    def __init__(self, max_failures: int, window_seconds: float, cooldown_seconds: float) -> None:
        self.count = 0
        """How often the brain has failed."""
        self.reason = ""
        """The reason of the last failure."""
        self.until = 0.0
        """When the brain may be tried again."""
        # Holds the newest `max_failures`. If it is full, the oldest of them tells how soon they came after each other.
        self._failures: deque[float] = deque(maxlen=max_failures)
        self._window_seconds = window_seconds
        self._cooldown_seconds = cooldown_seconds

    @property
    def open(self) -> bool:
        """Whether the brain is left alone now."""
        return anyio.current_time() < self.until

    def add_failure(self, reason: str) -> None:
        """Count a failure."""
        now, self.reason = anyio.current_time(), reason
        self.count += 1
        self._failures.append(now)
        if len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window_seconds:
            self.until = now + self._cooldown_seconds
            # After the pause the brain begins with a clean record, and not one failure before the next pause.
            self._failures.clear()
