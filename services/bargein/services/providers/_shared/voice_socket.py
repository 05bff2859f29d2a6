"""The base of voices that speak over one WebSocket, kept from sentence to sentence and reopened when it has died."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar
from uuid import uuid4

import anyio
import msgspec
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import TextToSpeech, Word
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.sockets.retry import RETRYABLE_STATUSES, backoff_seconds

from .remote_speech import MAX_PENDING_PIECES, RemoteSpeech

__all__ = ["SocketVoice", "SpeechPiece", "VoiceProtocol"]

T = TypeVar("T")
Put = Callable[[Samples | Word], Awaitable[None]]


class SpeechPiece(msgspec.Struct, frozen=True, kw_only=True):
    """The meaning of one message of a voice's server."""

    context: str | None
    """The sentence it belongs to; None if it concerns the whole connection."""
    pieces: Sequence[Samples | Word] = ()
    """Audio, and when its words sound."""
    done: bool = False
    """Whether the sentence is complete."""
    fault: str = ""
    """The server's complaint; nothing more will come then either."""
    status: int = 0
    """The HTTP status of the complaint, if the server sends one."""


class VoiceProtocol(Protocol):
    """The protocol of one connection. Each sentence is a context with its own id."""

    def begin(self, context: str, text: str) -> Sequence[str]:
        """Return the messages that request a sentence."""

    def cancel(self, context: str) -> Sequence[str]:
        """Return the messages that cancel a sentence which is not complete. Later messages about it are ignored."""

    def receive(self, data: str | bytes) -> SpeechPiece:
        """Return the meaning of a message. Raises `ConnectionError` for one that cannot be read."""


class _ConnectionFaultError(ConnectionError):
    """The server complains about the whole connection."""


class _BusyError(ConnectionError):
    """The server is too busy for this sentence, or fails."""


class _VoiceConnection:
    """An open socket, and the sentences whose audio is awaited over it."""

    def __init__(self, socket: Socket, protocol: VoiceProtocol) -> None:
        self.protocol = protocol
        self.open = True
        self.used = False
        """Whether a sentence was requested over it."""
        self.fault: Exception = SocketClosedError(1006, "it was given up")
        """Why it is closed."""
        self._socket = socket
        self._scope = anyio.CancelScope()
        self._listeners: dict[str, MemoryObjectSendStream[SpeechPiece]] = {}
        self._send_lock = anyio.Lock()

    def listen(self, context: str) -> MemoryObjectReceiveStream[SpeechPiece]:
        """Return a stream of the messages about a sentence. It ends with the connection."""
        send, receive = anyio.create_memory_object_stream[SpeechPiece](MAX_PENDING_PIECES)
        if self.open:
            self._listeners[context] = send
        else:
            send.close()
        return receive

    def forget(self, context: str) -> None:
        """End the stream of a sentence."""
        if (send := self._listeners.pop(context, None)) is not None:
            send.close()

    async def send(self, data: str) -> None:
        """Send a message. The lock is there because a socket allows one sender at a time."""
        async with self._send_lock:
            await self._socket.send(data)

    async def read(self) -> None:
        """Distribute messages until the socket is closed or `abandon` is called. Errors are kept in `fault`."""
        try:
            with self._scope:
                while True:
                    await self._distribute(self.protocol.receive(await self._socket.receive()))
        except Exception as error:
            self.fault = error
        finally:
            self.open = False
            for context in list(self._listeners):
                self.forget(context)

    async def _distribute(self, piece: SpeechPiece) -> None:
        for context in list(self._listeners) if piece.context is None else [piece.context]:
            if (send := self._listeners.get(context)) is not None:
                # The sentence may have been cancelled while the stream was full.
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await send.send(piece)

    def abandon(self) -> None:
        """Stop using the connection."""
        self.open = False
        self._scope.cancel()


class SocketVoice(RemoteSpeech, TextToSpeech):
    """A voice that requests every sentence over one socket. A subclass sets the endpoint and implements `protocol`."""

    _connection: _VoiceConnection | None = None
    _open_lock: anyio.Lock | None = None

    def protocol(self) -> VoiceProtocol:
        """Return the protocol of a new connection."""
        raise NotImplementedError

    def speak(self, text: str) -> AsyncGenerator[Samples | Word]:
        """Yield the audio of a sentence, or a part of one, with the times of its words."""
        return self._exchange(partial(self._speak_with_retries, text))

    async def _speak_with_retries(self, text: str, put: Put) -> None:
        if not text.strip():
            return
        begun = False

        async def put_piece(piece: Samples | Word) -> None:
            nonlocal begun
            begun = True
            await put(piece)

        for attempt in itertools.count(1):
            connection = await self._ensure_connection()
            was_used = connection.used
            try:
                await self._speak_over(connection, text, put_piece)
                return
            except (SocketClosedError, _ConnectionFaultError):
                # A connection that served an earlier sentence may have died unnoticed since. That is not a failure.
                if begun or not was_used or attempt > 1 + self._retries:
                    raise
            except _BusyError:
                wait = backoff_seconds(attempt, None, self._random)
                if begun or wait is None or attempt > self._retries:
                    raise
                await anyio.sleep(wait)

    async def _speak_over(self, connection: _VoiceConnection, text: str, put: Put) -> None:
        """Speak a sentence over a connection."""
        context, over = uuid4().hex, False
        connection.used = True
        with connection.listen(context) as pieces:
            try:
                for message in connection.protocol.begin(context, text):
                    await self._in_time(connection.send(message))
                while not over:
                    piece = await self._in_time(pieces.receive())
                    for each in piece.pieces:
                        await put(each)
                    over = piece.done or bool(piece.fault)
                    if piece.fault:
                        raise self._complaint(connection, piece)
            except (anyio.EndOfStream, SocketClosedError) as error:
                over = True
                closed = connection.open and isinstance(error, SocketClosedError)
                raise (error if closed else connection.fault) from None
            except TimeoutError:
                over = True
                connection.abandon()
                raise self._timeout() from None
            finally:
                connection.forget(context)
                if not over and self._group is not None:
                    self._group.start_soon(self._cancel_sentence, connection, context)

    def _complaint(self, connection: _VoiceConnection, piece: SpeechPiece) -> ConnectionError:
        message = f"{self.service} reports an error: {self._clean(piece.fault)}"
        if piece.context is not None:
            return _BusyError(message) if piece.status in RETRYABLE_STATUSES else ConnectionError(message)
        connection.abandon()
        return _ConnectionFaultError(message)

    async def _in_time(self, coming: Awaitable[T]) -> T:
        with anyio.fail_after(self._silence_seconds):
            return await coming

    async def _cancel_sentence(self, connection: _VoiceConnection, context: str) -> None:
        with suppress(SocketClosedError), anyio.move_on_after(1):
            for message in connection.protocol.cancel(context):
                await connection.send(message)

    async def _ensure_connection(self) -> _VoiceConnection:
        """Return the connection, opened if there is none. Raises what connecting raises."""
        assert self._group is not None
        self._open_lock = self._open_lock or anyio.Lock()
        async with self._open_lock:
            if self._connection is None or not self._connection.open:
                self._connection = await self._group.start(self._keep_connection)
            return self._connection

    async def _keep_connection(self, *, task_status: TaskStatus[_VoiceConnection]) -> None:
        """Hold a socket open and read from it."""
        connection: _VoiceConnection | None = None
        try:
            async with self._socket() as socket:
                connection = _VoiceConnection(socket, self.protocol())
                task_status.started(connection)
                await connection.read()
        except Exception:
            if connection is None:  # the task that opens it gets the error
                raise
