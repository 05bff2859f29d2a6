"""A circuit breaker: who fails too often is left alone for a while."""

from __future__ import annotations

from collections import deque

import anyio

__all__ = ["Breaker"]


class Breaker:
    """Open for `cooldown` seconds after `failures` failures within `window` seconds."""

    def __init__(self, failures: int, window: float, cooldown: float) -> None:
        self.reason = ""
        """Why it failed last."""
        self._failures: deque[float] = deque(maxlen=failures)
        self._window = window
        self._cooldown = cooldown
        self._until = 0.0

    @property
    def until(self) -> float:
        """When it may be tried again."""
        return self._until

    @property
    def open(self) -> bool:
        """It is left alone."""
        return anyio.current_time() < self._until

    def failed(self, reason: str) -> None:
        """It has failed."""
        now, self.reason = anyio.current_time(), reason
        self._failures.append(now)
        if len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window:
            self._until = now + self._cooldown
            self._failures.clear()
