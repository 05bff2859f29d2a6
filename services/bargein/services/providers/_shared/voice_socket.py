"""A voice at a provider: one socket that is kept from sentence to sentence, and opened anew when it has died."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bargein.services.cascade.parts import Samples, TextToSpeech, Word
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.sockets.retry import RETRYABLE_STATUSES, backoff_seconds

from .remote_socket import AHEAD, RemoteSocket
from .voice_protocol import SpeechPiece, VoiceProtocol

__all__ = ["SocketVoice"]

Put = Callable[[Samples | Word], Awaitable[None]]


class _LineError(ConnectionError):
    """The server complains, and not of one sentence."""


class _BusyError(ConnectionError):
    """The server has too much to do for this sentence, or fails."""


class _Line:
    """An open socket, and who listens to what comes over it."""

    def __init__(self, socket: Socket, protocol: VoiceProtocol) -> None:
        self.protocol = protocol
        self.open = True
        self.used = False
        """A sentence was asked for over it."""
        self.fault: Exception = SocketClosedError(1006, "it was given up")
        """Why it is not open any more."""
        self._socket = socket
        self._scope = anyio.CancelScope()
        self._listeners: dict[str, MemoryObjectSendStream[SpeechPiece]] = {}
        self._sending = anyio.Lock()

    def listen(self, context: str) -> MemoryObjectReceiveStream[SpeechPiece]:
        """What will be said of a sentence. It ends with the line."""
        give, take = anyio.create_memory_object_stream[SpeechPiece](AHEAD)
        if self.open:
            self._listeners[context] = give
        else:
            give.close()
        return take

    def forget(self, context: str) -> None:
        """Nobody listens to it any more."""
        if (give := self._listeners.pop(context, None)) is not None:
            give.close()

    async def send(self, data: str) -> None:
        """Send a message. A socket has one sender at a time."""
        async with self._sending:
            await self._socket.send(data)

    async def read(self) -> None:
        """Hand out what comes, until the socket is closed or the line is abandoned. Raises nothing: see `fault`."""
        try:
            with self._scope:
                while True:
                    await self._hand_out(self.protocol.receive(await self._socket.receive()))
        except Exception as error:
            self.fault = error
        finally:
            self.open = False
            for context in list(self._listeners):
                self.forget(context)

    async def _hand_out(self, said: SpeechPiece) -> None:
        for context in list(self._listeners) if said.context is None else [said.context]:
            if (give := self._listeners.get(context)) is not None:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it has been called off
                    await give.send(said)

    def abandon(self) -> None:
        """Nothing good will come over it any more."""
        self.open = False
        self._scope.cancel()


class SocketVoice(RemoteSocket, TextToSpeech):
    """A voice that asks for every sentence over one socket. A subclass says how, and where."""

    _line: _Line | None = None
    _opening: anyio.Lock | None = None

    def protocol(self) -> VoiceProtocol:
        """The protocol of the next connection."""
        raise NotImplementedError

    def speak(self, text: str) -> AsyncGenerator[Samples | Word]:
        """Speak a sentence or a part of one."""
        return self._exchange(partial(self._say, text))

    async def _say(self, text: str, put: Put) -> None:
        if not text.strip():
            return
        given = False

        async def give(piece: Samples | Word) -> None:
            nonlocal given
            given = True
            await put(piece)

        for attempt in itertools.count(1):
            line = await self._open()
            kept = line.used
            try:
                await self._ask(line, text, give)
                return
            except (SocketClosedError, _LineError):
                if given or not kept or attempt > 1 + self._retries:  # else it died while nobody spoke, and nobody knew
                    raise
            except _BusyError:
                wait = backoff_seconds(attempt, None, self._random)
                if given or wait is None or attempt > self._retries:
                    raise
                await anyio.sleep(wait)

    async def _ask(self, line: _Line, text: str, put: Put) -> None:
        """Speak a sentence over a line."""
        context, over = uuid4().hex, False
        line.used = True
        with line.listen(context) as coming:
            try:
                for message in line.protocol.begin(context, text):
                    await self._within(line.send(message))
                while not over:
                    said = await self._within(coming.receive())
                    for piece in said.pieces:
                        await put(piece)
                    over = said.done or bool(said.fault)
                    if said.fault:
                        raise self._complaint(line, said)
            except (anyio.EndOfStream, SocketClosedError) as error:
                over = True
                raise (error if line.open and isinstance(error, SocketClosedError) else line.fault) from None
            except TimeoutError:
                over = True
                line.abandon()
                raise self._silent() from None
            finally:
                line.forget(context)
                if not over and self._group is not None:
                    self._group.start_soon(self._call_off, line, context)

    def _complaint(self, line: _Line, said: SpeechPiece) -> ConnectionError:
        message = f"{self.service} reports an error: {self._clean(said.fault)}"
        if said.context is not None:
            return _BusyError(message) if said.status in RETRYABLE_STATUSES else ConnectionError(message)
        line.abandon()
        return _LineError(message)

    async def _within(self, coming: Awaitable[Any]) -> Any:
        with anyio.fail_after(self._silence):
            return await coming

    async def _call_off(self, line: _Line, context: str) -> None:
        with suppress(SocketClosedError), anyio.move_on_after(1):
            for message in line.protocol.cancel(context):
                await line.send(message)

    async def _open(self) -> _Line:
        """The line, which is opened if there is none. Raises what connecting raises."""
        assert self._group is not None
        self._opening = self._opening or anyio.Lock()
        async with self._opening:
            if self._line is None or not self._line.open:
                self._line = await self._group.start(self._keep)
            return self._line

    async def _keep(self, *, task_status: TaskStatus[_Line]) -> None:
        """Hold a socket open, and read what comes over it."""
        line: _Line | None = None
        try:
            async with self._socket() as socket:
                line = _Line(socket, self.protocol())
                task_status.started(line)
                await line.read()
        except Exception:
            if line is None:  # whoever opens it is told
                raise
