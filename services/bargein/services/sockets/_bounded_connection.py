"""A server's connection that makes room for another one while it has not opened.

`websockets` has a bound for the time of a handshake, but none for how many connections there are. Without it a few
hundred silent ones take all descriptors of a process, and it serves no client until their time is up.

This relies on `ServerConnection.handshake` and `Server.all_connections` of `websockets` 17, on asyncio and trio.
`tests/services/sockets/test_descriptors.py` fails when they change.
"""

from __future__ import annotations

from typing import Any

import anyio

__all__ = ["bounded_connection"]


def bounded_connection(base: type[Any], max_connections: int) -> type[Any]:
    """Return a connection class for one server, for `serve(create_connection=)`.

    Args:
        base: `ServerConnection` of `websockets.asyncio.server` or `websockets.trio.server`, or a class made of it.
        max_connections: Connections that may be there. When one more comes, the one that has waited longest for the end
            of its handshake is closed.
    """
    opening: dict[Any, anyio.CancelScope] = {}  # the oldest first

    class BoundedConnection(base):  # type: ignore[misc]
        async def handshake(self, *arguments: Any, **options: Any) -> None:
            with anyio.CancelScope() as scope:
                opening[self] = scope
                if len(opening) + len(self.server.all_connections) > max_connections:
                    opening.pop(next(iter(opening))).cancel()
                try:
                    await super().handshake(*arguments, **options)
                finally:
                    opening.pop(self, None)
            if scope.cancelled_caught:  # the library closes it, and logs nothing
                raise ConnectionAbortedError("the server has too many connections")

    return BoundedConnection
