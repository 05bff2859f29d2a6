"""A bound on waiting that counts the time in which the event loop ran."""

from __future__ import annotations

import anyio

__all__ = ["SLICES", "wait_at_most"]

SLICES = 16
"""Number of equal parts of a bound. A power of two, so that the parts add up to the bound without rounding."""


async def wait_at_most(event: anyio.Event, seconds: float, slices: int = SLICES) -> bool:
    """Wait for an event for a bounded time in which the event loop runs.

    When the loop stands still (a garbage collection, a slow import, a blocking call in a callback), a plain deadline
    passes although no task could do anything for its end. Here the bound is divided into slices, and a standstill uses
    up one of them at most: the tasks still get the other slices. While the loop runs, the bound is `seconds`.

    Args:
        event: The event to wait for.
        seconds: The bound. `math.inf` for none.
        slices: Number of parts of the bound.

    Returns:
        Whether the event was set.
    """
    for _ in range(slices):
        if event.is_set():
            return True
        with anyio.move_on_after(seconds / slices):
            await event.wait()
    return event.is_set()
