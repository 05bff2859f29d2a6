"""Two sockets in memory that are connected with each other."""

from __future__ import annotations

from collections import deque

import anyio

from .socket import Socket, SocketClosedError

__all__ = ["pipe"]


class PipeEnd:
    """One end of a pipe. What it sends stays in the other end's inbox until it is received there."""

    def __init__(self, capacity: int) -> None:
        self.other: PipeEnd
        self.inbox: deque[str | bytes] = deque()
        self.capacity = capacity
        self.closed: tuple[int, str] | None = None
        self.changed = anyio.Event()

    def wake(self) -> None:
        """Wake every task that waits for this end to change."""
        self.changed.set()
        self.changed = anyio.Event()

    async def send(self, data: str | bytes) -> None:
        await anyio.lowlevel.checkpoint()
        while self.closed is None and len(self.other.inbox) >= self.capacity:
            await self.other.changed.wait()
        if self.closed is not None:
            raise SocketClosedError(*self.closed)
        self.other.inbox.append(data)
        self.other.wake()

    async def receive(self) -> str | bytes:
        await anyio.lowlevel.checkpoint()
        while not self.inbox:  # what was sent before a close is still received
            if self.closed is not None:
                raise SocketClosedError(*self.closed)
            await self.changed.wait()
        data = self.inbox.popleft()
        self.wake()
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        for end in (self, self.other):
            end.closed = end.closed or (code, reason)
            end.wake()


def pipe(capacity: int = 64) -> tuple[Socket, Socket]:
    """Return the two ends of a connection in memory, for tests and for a server in the same process.

    Args:
        capacity: Number of messages that may wait at one end. When it is full, sending to it waits.
    """
    one, two = PipeEnd(capacity), PipeEnd(capacity)
    one.other, two.other = two, one
    return one, two
