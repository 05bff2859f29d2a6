"""The base of speech-to-text and text-to-speech at a provider: the key, retries, and one task for each exchange.

The options that all of them share are written down once, as `TypedDict`s for `Unpack`, so that an editor completes them
for each class.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random
from types import TracebackType
from typing import Self, TypedDict, TypeVar, cast

import anyio
import msgspec
import numpy as np

from bargein.pipeline.lowlevel import Samples, unwrap_exception
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, dial
from bargein.services.sockets.retry import RETRYABLE_STATUSES, backoff_seconds

from .keys import check_key, clean_text

__all__ = ["MAX_PENDING_PIECES", "PcmDecoder", "RemoteSpeech", "SocketSpeechOptions", "SpeechOptions", "decode_json"]

T = TypeVar("T")

MAX_PENDING_PIECES = 32
"""Pieces that may wait to be taken; then the provider has to wait."""


class SpeechOptions(TypedDict, total=False):
    """Options that the constructors of all providers' speech-to-text and text-to-speech have."""

    api_key: str | None
    """The key; None, the default, for that of the provider's environment variable."""
    silence_seconds: float
    """How long the provider may be silent when something is due, in seconds. Default 10; 5 for Deepgram."""
    retries: int
    """How often a busy or failing server is asked again. Default 2."""


class SocketSpeechOptions(SpeechOptions, total=False):
    """Options of those that work over a WebSocket."""

    connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]]
    """Opens a socket; replaceable for tests. Default `dial`."""


class RemoteSpeech:
    """A part of a cascade whose work is done at a provider.

    It is a context manager. What it has open ends when it is left.

    An async generator may be suspended between two pieces, and must not hold a socket or a cancel scope open then. So
    each exchange runs as a task of this part's own task group, and the generator only takes what the task puts out.

    Args:
        options: The options that all of them share.
        variable: The environment variable of the key.
        silence_seconds: How long the provider may be silent, in seconds, where the options do not say.

    Raises:
        ValueError: There is no key, or an argument is out of range.
    """

    service: str
    """The provider's name, for errors."""

    _endpoint: Endpoint
    """Where its sockets connect to, if it uses sockets."""

    def __init__(
        self, options: SpeechOptions | SocketSpeechOptions, variable: str, silence_seconds: float = 10.0
    ) -> None:
        owner = type(self).__name__
        chosen = cast(SocketSpeechOptions, options)
        api_key = chosen.get("api_key")
        silence_seconds = chosen.get("silence_seconds", silence_seconds)
        retries = chosen.get("retries", 2)
        key = os.environ.get(variable, "") if api_key is None else api_key
        if not key:
            raise ValueError(f"{owner}: no key; give api_key=..., or set {variable}")
        if silence_seconds <= 0:
            raise ValueError(f"{owner}(silence_seconds={silence_seconds:g}): expected more than 0")
        if retries < 0:
            raise ValueError(f"{owner}(retries={retries}): expected 0 or more")
        self._secret = check_key(owner, key, variable)
        self._variable = variable
        self._silence_seconds = silence_seconds
        self._retries = retries
        self._connect = chosen.get("connect", dial)
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
        # The task group does not see the block's exception; otherwise it would be wrapped in an exception group.
        await group.__aexit__(None, None, None)

    async def _exchange(self, work: Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]]) -> AsyncGenerator[T]:
        """Run `work(put)` in a task and yield what it puts out.

        Closing this generator cancels the task. Errors of the task are raised here, as sentences.
        """
        if self._group is None:
            name = type(self).__name__
            raise RuntimeError(f"{name} is not entered; use it in a cascade, or within: async with {name}(...)")
        send, receive = anyio.create_memory_object_stream[T](MAX_PENDING_PIECES)
        scope = anyio.CancelScope()
        fault: Exception | None = ConnectionError(f"{type(self).__name__} was left in the middle")

        async def run() -> None:
            nonlocal fault
            with send, scope:
                try:
                    await work(send.send)
                    fault = None
                except Exception as error:
                    fault = self._to_error(error)

        with send, receive:
            try:
                self._group.start_soon(run)
                async for piece in receive:
                    yield piece
            finally:
                scope.cancel()
        if fault is not None:
            raise fault

    @asynccontextmanager
    async def _socket(self) -> AsyncIterator[Socket]:
        """Open a socket to the provider, and try again, after the time it asks for, when it is busy or fails.

        Raises what connecting raises.
        """
        for attempt in itertools.count(1):
            async with AsyncExitStack() as stack:
                try:
                    socket = await stack.enter_async_context(self._connect(self._endpoint))
                except SocketRefusedError as error:
                    wait = self._retry_wait(attempt, error.status, error.wait_seconds)
                    if wait is None:
                        raise
                else:
                    yield socket
                    return
            await anyio.sleep(wait)

    def _retry_wait(self, attempt: int, status: int | None, wait_seconds: float | None) -> float | None:
        """Return the seconds before the next attempt; None where another one cannot help or would come too late."""
        if status not in RETRYABLE_STATUSES or attempt > self._retries:
            return None
        return backoff_seconds(attempt, wait_seconds, self._random)

    async def _receive(self, socket: Socket) -> str | bytes:
        """Return the next message. Raises `TimeoutError` when nothing comes."""
        try:
            with anyio.fail_after(self._silence_seconds):
                return await socket.receive()
        except TimeoutError:
            raise self._timeout() from None

    async def _send(self, socket: Socket, data: str | bytes) -> None:
        """Send a message. Raises `TimeoutError` when the provider does not take it."""
        try:
            with anyio.fail_after(self._silence_seconds):
                await socket.send(data)
        except TimeoutError:
            raise self._timeout() from None

    def _timeout(self) -> TimeoutError:
        return TimeoutError(f"{self.service} is silent: nothing came within {self._silence_seconds:g} s")

    def _to_error(self, error: Exception) -> Exception:
        """Return an error with a sentence for the application."""
        found = unwrap_exception(error)
        error = found if isinstance(found, Exception) else error
        if isinstance(error, SocketRefusedError):
            return ConnectionError(self._refusal(error.status, error.body) if error.status else self._clean(str(error)))
        if isinstance(error, SocketClosedError):
            return ConnectionError(f"{self.service} closed the connection in the middle: {self._clean(str(error))}")
        if isinstance(error, ConnectionError):
            return ConnectionError(self._clean(str(error)))
        return error

    def _refusal(self, status: int, body: str) -> str:
        """Return the sentence for an HTTP status that is an error."""
        text = f": {self._clean(body)}" if body.strip() else ""
        if status in (401, 403):
            return f"{self.service} refuses the key ({status}){text}; look at api_key or {self._variable}"
        return f"{self.service} refuses with {status}{text}"

    def _clean(self, text: str) -> str:
        """Return a text of the provider without the key, short and in one line."""
        return clean_text(text, self._secret)


def decode_json(service: str, data: str | bytes, kind: type[T]) -> T:
    """Decode a JSON message of a provider.

    Args:
        service: The provider's name, for errors.
        data: The message.
        kind: The type to decode it as.

    Raises:
        ConnectionError: The message cannot be read as this type.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConnectionError(f"{service} sent a message of length {len(data)} that cannot be read") from None


class PcmDecoder:
    """Turns pieces of bytes into 16-bit samples. A sample may be cut between two pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self.count = 0
        """Samples decoded so far."""

    def decode(self, data: bytes) -> Samples:
        """Return the samples that are complete with this piece."""
        data = self._rest + data
        whole = len(data) // 2 * 2
        self._rest = data[whole:]
        self.count += whole // 2
        return np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)
