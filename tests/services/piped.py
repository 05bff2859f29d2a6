"""The project's own server at the other end of a pipe, in any dialect of the family, with an eye on what goes by."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.openai.server.serve import serve_socket
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.sockets import Endpoint, Socket, pipe

Change = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]


class Piped:
    """What connects, what was sent, and where to. `change` is what a provider makes of an event beyond its dialect."""

    def __init__(
        self, group: anyio.abc.TaskGroup, make_brain: Any, dialect: ServerLanguage, change: Change | None, options: Any
    ) -> None:
        self.endpoints: list[Endpoint] = []
        self.sent: list[dict[str, Any]] = []
        """What the client said."""
        self.sockets: list[Socket] = []
        self._group = group
        self._make_brain = make_brain
        self._dialect = dialect
        self._change = change
        self._options = options

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What the client said of one type."""
        return [event for event in self.sent if event["type"] == kind]

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """What a model is given in place of `dial`."""
        ours, theirs = pipe()
        self.endpoints.append(endpoint)
        self.sockets.append(ours)
        self._group.start_soon(self._serve, theirs)
        try:
            yield _Watched(ours, self.sent, self._change)
        finally:
            await ours.close()

    async def _serve(self, socket: Socket) -> None:
        await serve_socket(socket, self._make_brain, dialect=self._dialect, **self._options)


class _Watched:
    """A socket, and what goes over it."""

    def __init__(self, socket: Socket, sent: list[dict[str, Any]], change: Change | None) -> None:
        self._socket = socket
        self._sent = sent
        self._change = change
        self._came: list[str | bytes] = []

    async def send(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self._sent.append(json.loads(data))
        await self._socket.send(data)

    async def receive(self) -> str | bytes:
        while not self._came:
            data = await self._socket.receive()
            if self._change is None or isinstance(data, bytes):
                return data
            try:
                event = json.loads(data)
            except json.JSONDecodeError:
                return data
            self._came += [json.dumps(each) for each in self._change(event)] if isinstance(event, dict) else [data]
        return self._came.pop(0)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._socket.close(code, reason)


@asynccontextmanager
async def piped(
    make_brain: Any, dialect: ServerLanguage = GA, *, change: Change | None = None, **options: Any
) -> AsyncIterator[Piped]:
    """A server of brains while the block runs; the options are those of `serve_socket`."""
    async with anyio.create_task_group() as group:
        yield Piped(group, make_brain, dialect, change, options)
        group.cancel_scope.cancel()
