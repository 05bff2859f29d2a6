"""`run_page`: the whole main program of an agent with its page."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Unpack

import anyio

from bargein.services.transports import BuildAgent

from .serve import PageOptions, serve_page

__all__ = ["collect_agents", "run_page"]

_collected: ContextVar[list[BuildAgent] | None] = ContextVar("bargein_collected_agents", default=None)
"""The list to which `run_page` adds its agent instead of serving it; None to serve it."""


@contextmanager
def collect_agents() -> Iterator[list[BuildAgent]]:
    """Have `run_page` collect its agents while the block runs, instead of serving them.

    A command that imports an agent's file uses it: a first program often calls `run_page` without
    `if __name__ == "__main__"`, and would serve for ever while it is imported.
    """
    agents: list[BuildAgent] = []
    token = _collected.set(agents)
    try:
        yield agents
    finally:
        _collected.reset(token)


def run_page(agent: BuildAgent, **options: Unpack[PageOptions]) -> None:
    """Serve an agent with its page until the program is stopped by Ctrl+C or SIGTERM. Print the page's URL.

    This is the whole main program of an agent::

        run_page(lambda peer: Pipeline(peer.source, Cascade.offline(), Spoken(), peer.sink))

    When `bargein demo` or `bargein graph` loads the program's file, this function returns at once: the command serves
    or draws the agent itself.

    Args:
        agent: Makes the graph for each peer.
        **options: As for `serve_page`.

    Raises:
        RuntimeError: Called inside a running event loop; there, use `serve_page`.
    """

    collected = _collected.get()
    if collected is not None:
        collected.append(agent)
        return

    async def main() -> None:
        async with serve_page(agent, **options) as server:
            print(f"Talk to your agent: {server.url}  (Ctrl+C ends it)", flush=True)
            await server.wait()

    uvloop = sys.platform != "win32" and importlib.util.find_spec("uvloop") is not None
    # Ctrl+C ends the program without a traceback also before the server listens and after it has stopped.
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(main, backend="asyncio", backend_options={"use_uvloop": uvloop})
