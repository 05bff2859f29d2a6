"""Speech at a provider: the key, and one exchange after the other, each in a task of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import msgspec
import numpy as np

from bargein.services.cascade.parts import Samples
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError
from bargein.services.sockets.retry import RETRYABLE_STATUSES, backoff_seconds

from .keys import checked_key

__all__ = ["AHEAD", "Pcm", "RemoteSocket", "read"]

T = TypeVar("T")

AHEAD = 32
"""Pieces that may wait to be taken: then the provider waits."""


class RemoteSocket:
    """A part whose work is done elsewhere. It is a context manager: what it has open ends when it is left.

    A generator is left alone between two pieces and must not hold a scope open there, as sockets do. So each exchange
    is a task of the part's own group, and the generator only takes what that gives.
    """

    service: str
    """The provider's name, for errors."""

    _endpoint: Endpoint
    """Where its sockets are, if it has some."""
    _connect: Any
    """What opens them."""

    def __init__(self, api_key: str | None, variable: str, silence_seconds: float, retries: int) -> None:
        who = type(self).__name__
        key = os.environ.get(variable, "") if api_key is None else api_key
        if not key:
            raise ValueError(f"{who}: no key; give api_key=..., or set {variable}")
        if silence_seconds <= 0:
            raise ValueError(f"{who}(silence_seconds={silence_seconds:g}): expected more than 0")
        if retries < 0:
            raise ValueError(f"{who}(retries={retries}): expected 0 or more")
        self._secret = checked_key(who, key, variable)
        self._variable = variable
        self._silence = silence_seconds
        self._retries = retries
        self._random = Random()
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError(f"this {type(self).__name__} is in use; make one for each session")
        group = anyio.create_task_group()
        await group.__aenter__()
        self._group = group
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)  # what was raised within passes as it is, and not in a group

    async def _exchange(self, talk: Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]]) -> AsyncGenerator[T]:
        """What `talk` gives to the function it is called with. Raises what it raises; closing this cancels it."""
        if self._group is None:
            name = type(self).__name__
            raise RuntimeError(f"{name} is not entered; use it in a cascade, or within: async with {name}(...)")
        give, take = anyio.create_memory_object_stream[T](AHEAD)
        scope = anyio.CancelScope()
        fault: Exception | None = ConnectionError(f"{type(self).__name__} was left in the middle")

        async def run() -> None:
            nonlocal fault
            with give, scope:
                try:
                    await talk(give.send)
                    fault = None
                except Exception as error:
                    fault = self._meaning(error)

        with give, take:
            try:
                self._group.start_soon(run)
                async for piece in take:
                    yield piece
            finally:
                scope.cancel()
        if fault is not None:
            raise fault

    @asynccontextmanager
    async def _socket(self) -> AsyncIterator[Socket]:
        """A socket to the provider. One who is busy or fails is asked again, and not before it wants.

        Raises what connecting raises.
        """
        for attempt in itertools.count(1):
            async with AsyncExitStack() as stack:
                try:
                    socket = await stack.enter_async_context(self._connect(self._endpoint))
                except SocketRefusedError as error:
                    wait = (
                        backoff_seconds(attempt, error.wait, self._random)
                        if error.status in RETRYABLE_STATUSES
                        else None
                    )
                    if wait is None or attempt > self._retries:
                        raise
                else:
                    yield socket
                    return
            await anyio.sleep(wait)

    async def _receive(self, socket: Socket) -> str | bytes:
        """The next message. Raises `TimeoutError` when nothing comes."""
        try:
            with anyio.fail_after(self._silence):
                return await socket.receive()
        except TimeoutError:
            raise self._silent() from None

    async def _send(self, socket: Socket, data: str | bytes) -> None:
        """Send a message. Raises `TimeoutError` when it is not taken."""
        try:
            with anyio.fail_after(self._silence):
                await socket.send(data)
        except TimeoutError:
            raise self._silent() from None

    def _silent(self) -> TimeoutError:
        return TimeoutError(f"{self.service} is silent: nothing came within {self._silence:g} s")

    def _meaning(self, error: Exception) -> Exception:
        """An error as a sentence."""
        error = self._plain(error)
        if isinstance(error, SocketRefusedError):
            return ConnectionError(self._refusal(error.status, error.body) if error.status else str(error))
        if isinstance(error, SocketClosedError):
            return ConnectionError(f"{self.service} closed the connection in the middle: {self._clean(str(error))}")
        return error

    def _plain(self, error: Exception) -> Exception:
        """An error itself. Tasks wrap theirs in groups, which say nothing."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        return error

    def _refusal(self, status: int, body: str) -> str:
        """The sentence for an HTTP status that is an error."""
        said = f": {self._clean(body)}" if body.strip() else ""
        if status in (401, 403):
            return f"{self.service} refuses the key ({status}){said}; look at api_key or {self._variable}"
        return f"{self.service} refuses with {status}{said}"

    def _clean(self, text: str) -> str:
        """What a server said, short, in one line, and without the key, should it repeat that."""
        return " ".join(text.replace(self._secret, "…").split())[:300]


def read(service: str, data: str | bytes, kind: type[T]) -> T:
    """A message of JSON, as `kind`. Raises `ConnectionError` for anything else."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConnectionError(f"{service} sent a message that cannot be read: {data[:60]!r}") from None


class Pcm:
    """Bytes as samples, where a sample may be cut in two."""

    def __init__(self) -> None:
        self._rest = b""
        self.count = 0
        """Samples so far."""

    def samples(self, data: bytes) -> Samples:
        """The samples that are whole now."""
        data = self._rest + data
        whole = len(data) // 2 * 2
        self._rest = data[whole:]
        self.count += whole // 2
        return np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)
