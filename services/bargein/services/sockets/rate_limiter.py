"""Rate limits with an allowance for bursts. No I/O.

Every server limits the messages of its peers with `MessageRate`, and their pings with `control_rate`.
"""

from __future__ import annotations

from typing import Final

from bargein.pipeline.lowlevel import check_options

__all__ = ["DEFAULT_MESSAGES_PER_SECOND", "TOO_MANY_PINGS", "MessageRate", "RateLimiter", "control_rate"]

DEFAULT_MESSAGES_PER_SECOND: Final = 400.0
"""Messages that a peer may send in a second by default. Sound usually comes in 50 messages a second, and there are few
pictures, reports and texts. So peers may also cut sound into shorter pieces."""
ACTION_COST: Final = 10
"""Number of messages that one message counts as if the agent acts on it, for example with a request to a provider."""
CONTROLS_PER_SECOND: Final = 20.0
"""Pings and pongs that a client may send in a second. Clients ping every few seconds."""
CONTROLS_BURST: Final = 200.0
"""Pings and pongs that may come at once, such as after a stall of the network."""
TOO_MANY_PINGS: Final = 1008, "too many pings"
"""Close code and reason for a client that sends too many pings or pongs."""


class RateLimiter:
    """Limits the rate of events, with the generic cell rate algorithm (GCRA), which stores a single number.

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
    """Limits the messages of one peer. Messages beyond the rate are handled later, so that other peers are not slowed
    down.

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
