"""RateLimiter: a rate, and an allowance for bursts."""

from __future__ import annotations

import pytest

from bargein.services.sockets.rate_limiter import RateLimiter


def test_a_burst_is_allowed_and_the_rest_comes_evenly() -> None:
    """Ten at once, and then one every 100 ms."""
    limit = RateLimiter(10, 10)
    assert [limit.take(5.0) for _ in range(10)] == [0.0] * 10
    assert [limit.take(5.0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert limit.take(5.5) == 0.0


def test_a_pause_restores_the_allowance_and_no_more() -> None:
    """After an hour ten may come at once, not 36,000."""
    limit = RateLimiter(10, 10)
    for _ in range(10):
        limit.take(0.0)
    assert sum(limit.take(3600.0) == 0.0 for _ in range(100)) == 10


def test_weighted_events() -> None:
    """Five that count twice use up what ten would."""
    limit = RateLimiter(10, 10)
    assert [limit.take(0.0, 2) for _ in range(6)] == pytest.approx([0.0] * 5 + [0.2])
