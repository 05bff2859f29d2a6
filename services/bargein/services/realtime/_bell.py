"""One task waits, others ring."""

from __future__ import annotations

import anyio

__all__ = ["Bell"]


class Bell:
    """A condition of one waiter. To ring when nobody waits costs next to nothing, and is remembered."""

    __slots__ = ("_event", "_rung")

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        self._rung = False

    def ring(self) -> None:
        """Wake who waits, or who will wait next."""
        self._rung = True
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait until it has been rung since the last wait."""
        while not self._rung:
            self._event = anyio.Event()
            await self._event.wait()
        self._rung = False
