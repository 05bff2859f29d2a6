"""The number of connections that a server may have, from the number of file descriptors that its process may have.

When a process has no descriptors left, asyncio and trio write a log line for each waiting connection and serve no
client.
"""

from __future__ import annotations

import importlib

__all__ = ["BACKLOG", "default_accept_batch", "default_max_connections"]

BACKLOG = 2048
"""Connections that may wait to be accepted. With the usual 100, a burst of clients waits for seconds."""
MAX_CONNECTIONS = 10_000
MAX_ACCEPT_BATCH = 100
"""Connections that asyncio accepts at once, at most. This is asyncio's own default."""


def default_max_connections() -> int:
    """Return half of the descriptors that the process may have; the rest is for WebRTC, providers and files."""
    descriptors = _max_descriptors()
    return MAX_CONNECTIONS if descriptors is None else min(descriptors // 2, MAX_CONNECTIONS)


def default_accept_batch() -> int:
    """Return how many connections asyncio may accept in one pass of its loop.

    A connection above the limit is closed a few passes after it was accepted, so several batches must fit into the free
    descriptors. asyncio calls this number `backlog`, and accepts up to this many waiting connections.
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
