"""A server with the page as a process of its own, to be killed: `python -m tests.services.server.page_server PORT`."""

from __future__ import annotations

import sys

import anyio

from bargein.services.server import serve_page

from .browser import agent, choice


async def main(port: int) -> None:
    """Serve the weather agent until the process is killed."""
    async with serve_page(agent, port=port, brains=[choice()]) as server:
        print(server.url, flush=True)
        await server.wait()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]))
