"""A server's connection that cannot take the event loop from the other connections.

Two things in `websockets` let one client do that. On asyncio, one read returns up to 256 KiB, which are thousands of
small messages that are parsed without a pause. And the library answers pings by itself, however many come, and keeps
the answers for a client that does not read them.

This relies on these parts of `websockets` 17, on asyncio and trio: `serve(create_connection=)`, which is
documented, and `ServerConnection.process_event` and `.protocol`, which are not. `tests/services/sockets/test_flood.py`
fails when they change.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import anyio

from .rate_limiter import RateLimiter

__all__ = ["fair_connection"]

READ_BYTES: Final = 16 * 1024
"""Bytes that one read takes on asyncio. Its transports have this bound as `max_size`; uvloop's do not."""
CONTROLS_PER_SECOND: Final = 20.0
"""Pings and pongs that a client may send in a second. Clients ping every few seconds."""
CONTROLS_BURST: Final = 200.0
"""Pings and pongs that may come at once, such as after a stall of the network."""
TOO_MANY: Final = 1008
"""The close code for a client that breaks the rules."""


@cache
def fair_connection(base: type[Any]) -> type[Any]:
    """Return a connection class for `serve(create_connection=)`.

    Args:
        base: `ServerConnection` of `websockets.asyncio.server` or `websockets.trio.server`.
    """
    from websockets.frames import DATA_OPCODES, Frame  # noqa: PLC0415 - an extra, imported on use

    class FairConnection(base):  # type: ignore[misc]  # the base differs between asyncio and trio
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._controls = RateLimiter(CONTROLS_PER_SECOND, CONTROLS_BURST)
            self._failed = False

        def connection_made(self, transport: Any) -> None:  # asyncio only
            if hasattr(transport, "max_size"):
                transport.max_size = READ_BYTES
            super().connection_made(transport)

        def process_event(self, event: Any) -> None:
            if self._failed:
                return
            control = isinstance(event, Frame) and event.opcode not in DATA_OPCODES
            # On asyncio this runs outside of any task, where AnyIO finds no backend if `asyncio.run` began the loop.
            if control and self._controls.take(self.loop.time() if hasattr(self, "loop") else anyio.current_time()):
                self._failed = True
                self.protocol.fail(TOO_MANY, "too many pings")
                return
            super().process_event(event)

    return FairConnection
