"""Bounds on HTTP connections: how long a request's head may take, and how many connections may be open.

uvicorn has neither. A connection that sends nothing, or one byte now and then, stays open for ever. When the process
has no descriptors left, asyncio writes one log line for each connection that waits, and serves no client.

The class below extends `uvicorn.protocols.http.h11_impl.H11Protocol` and relies on its attributes `connections`,
`cycle.response_complete`, `loop` and `transport` and its method `handle_websocket_upgrade`. They are there in uvicorn
0.30 to 0.54; `tests/services/server/test_connections.py` fails when silent connections are no longer closed.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from bargein.pipeline.lowlevel import import_extra

__all__ = ["default_accept_batch", "default_max_connections", "make_protocol"]

MAX_CONNECTIONS = 10_000
MAX_ACCEPT_BATCH = 100
"""asyncio's own default."""


def default_max_connections() -> int:
    """Return half of the descriptors that the process may have; the rest is for WebRTC, providers and files."""
    descriptors = _max_descriptors()
    return MAX_CONNECTIONS if descriptors is None else min(descriptors // 2, MAX_CONNECTIONS)


def default_accept_batch() -> int:
    """Return how many connections asyncio may accept in one pass of its loop.

    A connection that is too many is closed three passes after it was accepted. Three batches must fit into the
    descriptors that connections leave free. asyncio calls this number `backlog`, and accepts all that wait, up to it.
    """
    descriptors = _max_descriptors()
    return MAX_ACCEPT_BATCH if descriptors is None else max(1, min(descriptors // 16, MAX_ACCEPT_BATCH))


def _max_descriptors() -> int | None:
    """Return how many descriptors the process may have; `None` where there is no limit."""
    try:
        resource = importlib.import_module("resource")
    except ModuleNotFoundError:  # Windows
        return None
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft > 0 else None


def make_protocol(*, head_seconds: float, max_connections: int) -> type[asyncio.Protocol]:
    """Return the protocol class of a server, for `uvicorn.Config(http=...)`.

    Args:
        head_seconds: Longest time from a connection, or from the first byte of another request on it, to the end of the
            request's head.
        max_connections: Connections that may be open. When one more comes, the one that has waited longest for the end
            of a head is closed; if there is none, the new one is.
    """
    import_extra("uvicorn", "server", "serve_page()")
    base: Any = importlib.import_module("uvicorn.protocols.http.h11_impl").H11Protocol
    waiting: dict[Any, asyncio.TimerHandle] = {}  # connections whose request has no complete head, the oldest first

    class BoundedProtocol(base):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                oldest = next(iter(waiting), self)
                oldest.stop_waiting()
                oldest.connections.discard(oldest)
                oldest.transport.abort()
            if not transport.is_closing():
                self.wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self.stop_waiting()
            elif self not in waiting and self.transport.get_protocol() is self:
                self.wait_for_head()

        def handle_websocket_upgrade(self, event: Any) -> None:
            self.stop_waiting()
            super().handle_websocket_upgrade(event)

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_waiting()
            super().connection_lost(exc)

        def wait_for_head(self) -> None:
            waiting[self] = self.loop.call_later(head_seconds, self.transport.abort)

        def stop_waiting(self) -> None:
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

    return BoundedProtocol
