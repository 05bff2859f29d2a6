"""`Breaker`: a circuit breaker, which limits how often a failing brain is tried again."""

from __future__ import annotations

from collections import deque

import anyio

__all__ = ["Breaker"]


class Breaker:
    """A circuit breaker. It opens when a brain fails too often, and closes again after some time.

    Args:
        max_failures: Number of failures within `window_seconds` that opens it.
        window_seconds: Period over which failures are counted, in seconds.
        cooldown_seconds: Time for which it stays open, in seconds.
    """

    def __init__(self, max_failures: int, window_seconds: float, cooldown_seconds: float) -> None:
        self.count = 0
        """Number of failures so far."""
        self.reason = ""
        """The reason of the last failure."""
        self.until = 0.0
        """Time at which the brain may be tried again, in seconds."""
        # The times of the newest `max_failures` failures. If it is full, the oldest time shows whether all are within
        # the window.
        self._failures: deque[float] = deque(maxlen=max_failures)
        self._window_seconds = window_seconds
        self._cooldown_seconds = cooldown_seconds

    @property
    def open(self) -> bool:
        """Whether the brain must not be tried now."""
        return anyio.current_time() < self.until

    def add_failure(self, reason: str) -> None:
        """Count a failure."""
        now, self.reason = anyio.current_time(), reason
        self.count += 1
        self._failures.append(now)
        if len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window_seconds:
            self.until = now + self._cooldown_seconds
            # After the pause the count starts from zero. Otherwise the next failure would open the breaker at once.
            self._failures.clear()
