"""Bounds that count the time in which the event loop ran, so that a standstill accuses nobody.

The loop stands still for a garbage collection, a slow import, or a blocking call in a callback. Meanwhile plain
deadlines pass, although no task could do anything for its end, and what has arrived at a socket is not read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

__all__ = ["SLICES", "catch_up", "stood_still", "wait_at_most"]

SLICES = 16
"""Number of equal parts of a bound. A power of two, so that the parts add up to the bound without rounding."""
LATE_SECONDS = 0.05
"""A loop that reaches a time later than this, in seconds, has stood still."""


async def wait_at_most(wait: Callable[[], Awaitable[object]], seconds: float, slices: int = SLICES) -> bool:
    """Wait for something for a bounded time in which the event loop runs.

    The bound is divided into slices, and a standstill uses up one of them at most: the tasks still get the other
    slices. While the loop runs, the bound is `seconds`.

    Args:
        wait: Waits, such as `event.wait`. It is called once for each slice, and cancelled at its end.
        seconds: The bound. `math.inf` for none.
        slices: Number of parts of the bound.

    Returns:
        Whether `wait` has returned.
    """
    for _ in range(slices):
        with anyio.move_on_after(seconds / slices):
            await wait()
            return True
    return False


def stood_still(due: float) -> bool:
    """Return whether the event loop has stood still, since it should have reached this point at a time.

    Args:
        due: The time, by AnyIO's clock.
    """
    return anyio.current_time() > due + LATE_SECONDS


async def catch_up(due: float, seconds: float) -> bool:
    """Let the event loop run for a while if it has stood still. Call this before a deadline ends something.

    What has arrived meanwhile is then read before anything is judged.

    Args:
        due: The time at which the loop should have reached this point.
        seconds: The bound that has passed. The loop runs for a slice of it.

    Returns:
        Whether the loop has stood still. Then look again.
    """
    if not stood_still(due):
        return False
    await anyio.sleep(seconds / SLICES)
    return True
