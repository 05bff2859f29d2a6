"""`RateLimiter`: how often something may happen, with an allowance for bursts. No I/O."""

from __future__ import annotations

__all__ = ["RateLimiter"]


class RateLimiter:
    """Counts events against a rate (the generic cell rate algorithm: one number of state).

    Args:
        per_second: Events a second, over a long time.
        burst: Events that may come at once, after a pause.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._step = 1 / per_second
        self._allowance = burst / per_second
        self._due = float("-inf")  # when the next event would come, if all came evenly

    def take(self, now: float, events: int = 1) -> float:
        """Count events. Return how many seconds early the last of them is; 0 if it is within the rate.

        Args:
            now: The present time in seconds.
            events: The number of events.
        """
        self._due = max(self._due, now - self._allowance) + events * self._step
        return max(0.0, self._due - now)
