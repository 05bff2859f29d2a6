"""A wake-up for one waiting task."""

from __future__ import annotations

import anyio

__all__ = ["Wakeup"]


class Wakeup:
    """A flag that one task waits for and any code in the same event loop sets.

    Unlike `anyio.Event` it resets itself: each return from `wait` consumes the flag. Setting it while no task waits is
    cheap and is remembered, so no wake-up is lost between a check and the wait that follows.
    """

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        self._set = False

    def set(self) -> None:
        """Wake the waiting task, or the next task that waits."""
        self._set = True
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait until the flag is set, then reset it."""
        # An event of AnyIO cannot be reset, and making one for each frame costs more than the frame. So it is made only
        # when a task really waits.
        while not self._set:
            self._event = anyio.Event()
            await self._event.wait()
        self._set = False
