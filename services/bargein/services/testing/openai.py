"""A stand-in for providers of OpenAI's family, in memory, for tests without a key and without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import anyio

from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.openai.server.serve import serve_socket
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.testing import ScriptedBrain, Step

__all__ = ["rehearsal"]


@asynccontextmanager
async def rehearsal(
    *replies: str | Sequence[Step], dialect: ServerLanguage = GA, **options: object
) -> AsyncIterator[Callable[[Endpoint], AbstractAsyncContextManager[Socket]]]:
    """Serve a `ScriptedBrain` in this process, and yield a function for `connect=` of a model.

    Args:
        replies: The replies of each connection, in order.
        dialect: The language of the server.
        options: Options of `ScriptedBrain`; `word_ms` is 400 by default.
    """
    chosen: dict[str, Any] = {"word_ms": 400, **options}
    make = partial(ScriptedBrain, *replies, **chosen)
    async with anyio.create_task_group() as group:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            group.start_soon(partial(serve_socket, theirs, make, dialect=dialect))
            try:
                yield ours
            finally:
                await ours.close()

        yield connect
        group.cancel_scope.cancel()
