"""A provider in a test's hand: follows a script over a pipe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio

from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, pipe

Script = Callable[[Socket], Awaitable[None]]


class Peer:
    """A server that refuses so often, and then follows a script; keeps where it was asked, and what was closed."""

    def __init__(self, script: Script, *refusals: SocketRefusedError) -> None:
        self.script = script
        self.refusals = list(refusals)
        self.endpoints: list[Endpoint] = []
        self.closed = 0

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        self.endpoints.append(endpoint)
        if self.refusals:
            raise self.refusals.pop(0)
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve, ours)
            try:
                yield theirs
            finally:
                self.closed += 1
                await theirs.close()
                group.cancel_scope.cancel()

    async def _serve(self, socket: Socket) -> None:
        with suppress(SocketClosedError):
            await self.script(socket)


def refusing(status: int, body: str) -> Callable[[Endpoint], AbstractAsyncContextManager[Any]]:
    """What to connect with where nobody is let in."""
    return Peer(lambda socket: socket.close(), *[SocketRefusedError(f"answers {status}", status, body)] * 99).connect
