"""How often something may happen, with an allowance for bursts, and how many messages a peer may send. No I/O.

Every server bounds its peers by `MessageRate` and `control_rate`.
"""

from __future__ import annotations

from typing import Final

from bargein.pipeline.lowlevel import check_options

__all__ = ["DEFAULT_MESSAGES_PER_SECOND", "TOO_MANY_PINGS", "MessageRate", "RateLimiter", "control_rate"]

DEFAULT_MESSAGES_PER_SECOND: Final = 400.0
"""Sound comes in 50 messages a second; pictures, reports and texts are few. So there is room for shorter pieces."""
ACTION_COST: Final = 10
"""As how many messages a message counts on which the agent acts: it may begin an answer, or a request to a provider."""
CONTROLS_PER_SECOND: Final = 20.0
"""Pings and pongs that a client may send in a second. Clients ping every few seconds."""
CONTROLS_BURST: Final = 200.0
"""Pings and pongs that may come at once, such as after a stall of the network."""
TOO_MANY_PINGS: Final = 1008, "too many pings"
"""The close code for a client that exceeds these, and the reason."""


class RateLimiter:
    """Counts events against a rate (the generic cell rate algorithm: one number of state).

    Args:
        per_second: Events a second, over a long time.
        burst: Events that may come at once, after a pause.
    """

    @check_options
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


class MessageRate:
    """The messages of one peer. Those beyond the rate are handled later, so that the other peers are not slowed down.

    Args:
        per_second: Messages a second, over a long time. A quarter of this number may come at once.
    """

    @check_options
    def __init__(self, per_second: float) -> None:
        self._limiter = RateLimiter(per_second, per_second / 4)

    def take(self, now: float, *, action: bool = False) -> float:
        """Count a message. Return how many seconds to wait before the next one is handled.

        Args:
            now: The present time in seconds.
            action: Whether the agent acts on it. Then it counts as 10.
        """
        return self._limiter.take(now, ACTION_COST if action else 1)


def control_rate() -> RateLimiter:
    """Return the limit of a client's pings and pongs. A client that exceeds it is disconnected."""
    return RateLimiter(CONTROLS_PER_SECOND, CONTROLS_BURST)
