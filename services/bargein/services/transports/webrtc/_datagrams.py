"""`bound_datagrams`: limits how many of a peer's datagrams wait, and how many are read in a second. Imports aioice.

aioice puts every datagram of a connection into a queue without a limit, and nobody reads it before DTLS begins. A peer
that sends meanwhile would fill the memory. This queue drops datagrams that exceed its limit, as a UDP socket does.

aiortc reads the queue in a loop that does not pause while something waits, and decrypts each datagram. A peer that
sends thousands would keep the event loop from the other peers. So datagrams that exceed a rate are read later.

It replaces the private attribute `aioice.Connection._queue`, an `asyncio.Queue` of `(data, component)`, and None at the
end. It is there in aioice 0.10 to 0.13, with one caller each of `put_nowait` for data and of `get`.
`tests/services/media/test_aiortc.py` fails when this changes.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aioice import Connection

from bargein.services.sockets.rate_limiter import RateLimiter

__all__ = ["MAX_WAITING_BYTES", "DatagramQueue", "bound_datagrams"]

MAX_WAITING_BYTES: Final = 2 * 2**20
"""Bytes of datagrams that may wait: more than a second of video at 10 Mbit/s."""
OVERHEAD_BYTES: Final = 128
"""Memory that a datagram takes besides its bytes, about. So a flood of empty ones is bounded as well."""


class DatagramQueue(asyncio.Queue[tuple[bytes, int] | None]):
    """A queue of datagrams that drops what exceeds its limit.

    Args:
        per_second: Datagrams that are read in a second, over a long time. A quarter of this number may be read at once.
    """

    def __init__(self, per_second: float) -> None:
        super().__init__()
        self.waiting_bytes = 0
        self._rate = RateLimiter(per_second, per_second / 4)
        self._next_at = 0.0  # when the next datagram may be read

    async def get(self) -> tuple[bytes, int] | None:
        loop = asyncio.get_running_loop()
        if (wait := self._next_at - loop.time()) > 0:
            await asyncio.sleep(wait)
        item = await super().get()
        now = loop.time()
        self._next_at = now + self._rate.take(now)
        return item

    def put_nowait(self, item: tuple[bytes, int] | None) -> None:
        size = _size(item)
        if size and self.waiting_bytes + size > MAX_WAITING_BYTES:
            return
        self.waiting_bytes += size
        super().put_nowait(item)

    def get_nowait(self) -> tuple[bytes, int] | None:
        item = super().get_nowait()
        self.waiting_bytes -= _size(item)
        return item


def _size(item: tuple[bytes, int] | None) -> int:
    """Return how many bytes an item counts; 0 for the end, which always finds room."""
    return 0 if item is None else len(item[0]) + OVERHEAD_BYTES


def bound_datagrams(connection: Connection, per_second: float) -> None:
    """Limit the datagrams of a connection that has not begun yet. Datagrams that already wait in it are lost.

    Args:
        connection: The connection.
        per_second: Datagrams that are read in a second. More wait, and are dropped when there is no room.
    """
    connection._queue = DatagramQueue(per_second)
