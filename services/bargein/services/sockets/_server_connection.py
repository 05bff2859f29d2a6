"""Server connections with limits, so that one client cannot block the event loop or use up all file descriptors.

Two properties of `websockets` let one client block the event loop. First, one read returns many small messages, which
are parsed without a pause. Second, the library answers every ping, however many come, and stores the answers for a
client that does not read them.

This relies on these parts of `websockets` 17, on asyncio and trio: `serve(create_connection=)`, which is
documented, and `ServerConnection.process_event`, `.protocol`, `.send_data` and `.transport` or, on trio, `.stream`,
which are not.
`tests/services/sockets/test_flood.py` fails when they change.

`websockets` limits the time of a handshake, but not the number of connections. A few hundred silent connections could
take all descriptors of a process, which then serves no client until their time is up. The limit here relies on
`ServerConnection.handshake` and `Server.all_connections`; `tests/services/sockets/test_descriptors.py` fails when they
change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

import anyio

from .rate_limiter import TOO_MANY_PINGS, control_rate
from .read_gate import READ_BYTES, read_in_pieces

__all__ = ["bounded_connection", "fair_connection"]


@cache
def fair_connection(base: type[Any]) -> type[Any]:
    """Return a connection class for `serve(create_connection=)`.

    Args:
        base: `ServerConnection` of `websockets.asyncio.server` or `websockets.trio.server`.
    """
    from websockets.frames import DATA_OPCODES, Frame  # noqa: PLC0415 - an extra, imported on use

    on_asyncio = hasattr(base, "data_received")

    class FairConnection(read_in_pieces(base) if on_asyncio else base):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._controls = control_rate()
            self._failed = False
            if not on_asyncio:
                self.stream.receive_some = partial(self._receive, self.stream.receive_some)

        async def _receive(self, receive_some: Callable[[int], Awaitable[bytes]]) -> bytes:
            """Read from a stream of trio. Each read lets other tasks run, so small reads are all that is needed."""
            if self._failed:
                await self.send_data()
                return b""  # the end
            return await receive_some(READ_BYTES)

        def process_event(self, event: Any) -> None:
            if self._failed:
                return
            control = isinstance(event, Frame) and event.opcode not in DATA_OPCODES
            # On asyncio this runs outside of any task, where AnyIO finds no backend if `asyncio.run` began the loop.
            if control and self._controls.take(self.loop.time() if hasattr(self, "loop") else anyio.current_time()):
                self._failed = True
                self.protocol.fail(*TOO_MANY_PINGS)
                if on_asyncio:  # otherwise the close frame would wait until the client sends more
                    self.send_data()
                    self.transport.close()
                return
            super().process_event(event)

    return FairConnection


def bounded_connection(base: type[Any], max_connections: int) -> type[Any]:
    """Return a connection class for one server, for `serve(create_connection=)`.

    Args:
        base: `ServerConnection` of `websockets.asyncio.server` or `websockets.trio.server`, or a class made of it.
        max_connections: Maximum number of open connections. When one more comes, the one that has waited longest for
            the end of its handshake is closed.
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
