"""One peer on a message socket: a task that reads, a task that writes, and what may wait between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

import anyio
import msgspec

from bargein.pipeline import Audio, Delivery, Frame, Image, Interrupt, Outlet, Pipeline, Played, Processor, UserText
from bargein.processors import Commit, Latency, Pacer, Resample
from bargein.services.sockets import Socket, SocketClosedError

from ._send_queue import MessageQueue
from ._silent import MayBeSilent
from .control import ControlError, Finish, Noted, Told
from .sessions import Ending, SessionLimits
from .transport import Dtmf, Peer, PeerJoined, PeerLeft, Transport

__all__ = ["Marked", "SocketStatistics", "SocketTransport", "Wire"]

Message = str | bytes
SOUND_MS = 2_000.0
"""So much sound may wait for a peer that reads slowly: more would be an answer to a question long past."""
CHUNK_MS = 40.0
"""So long is a piece at most: a message costs as much as two. A player that is told to flush stops within a piece."""
MESSAGES = 2_000
"""So many messages may wait for it."""
LAST_WORD = 1.0
"""So many seconds the last message may take."""
LAZY = 0.1
"""A deadline is moved when it would move by more than this share of its bound: to move one costs as much as to send."""


class Marked(Frame, frozen=True):
    """The peer has played up to a mark: from the source to the sink of the same peer, which made the mark."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    mark: str
    """Its name."""


Came = PeerJoined | Audio | Image | UserText | Commit | Interrupt | Dtmf | Marked | PeerLeft
"""What comes from a peer on a socket, of one kind or another."""


class Wire(Protocol):
    """What the messages of one kind of peer are. No I/O."""

    def received(self, data: Message) -> Iterable[Any]:
        """What a message means: frames, or a `Finish`. Raises `ControlError`, and nothing else."""

    def sound(self, frame: Audio) -> Iterable[Message]:
        """The messages with this sound."""

    def news(self, frame: Frame) -> Iterable[Message]:
        """The messages for anything else, if there are any."""

    def played(self, frame: Frame) -> Iterable[Played]:
        """What has been heard, as far as the peer confirms it; asked with every frame, after its messages."""

    def wrong(self, error: ControlError) -> Message | None:
        """The answer to a wrong message."""

    def ending(self, reason: str) -> Message | None:
        """The last message."""


class SocketStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What has been counted so far."""

    received: int = 0
    """Messages that came."""
    sent: int = 0
    """Messages that were written."""
    wrong: int = 0
    """Messages that could not be understood."""
    dropped: int = 0
    """Pieces of sound that were not written, because the peer did not keep up."""
    flushed: int = 0
    """Messages that were not written, because an interrupt had expired them."""


class SocketTransport(Transport):
    """A transport on any socket with `send`, `receive` and `close`, whose messages are a `Wire`'s.

    What ends it: the peer's goodbye, a lost connection, silence for `idle_seconds`, a message that is not read within
    `slow_seconds`, and one more wrong message than there may be. Then what the agent is saying is interrupted,
    `PeerLeft` says why, and the session ends. The socket is left open for a last word: see `farewell`.
    """

    def __init__(
        self,
        socket: Socket,
        wire: Wire,
        peer: Peer,
        *,
        limits: SessionLimits | None = None,
        pacer: Pacer | None = None,
        output: tuple[int, int] | None = None,
    ) -> None:
        self.peer = peer
        self.limits = limits or SessionLimits()
        """What it goes by."""
        self.left: PeerLeft | None = None
        """How the peer left, once it has."""
        self.code = 1000
        """With what the socket is to be closed."""
        self._socket = socket
        self._wire = wire
        self._outbox = MessageQueue(sound_ms=SOUND_MS, messages=MESSAGES)
        self._received = self._sent = self._wrong = 0
        self._wrote = 0.0  # when something was written last
        self._changed = anyio.Event()
        self._waits = self._sending = self._finishing = self._finished = False  # the writer
        self._reading: anyio.CancelScope | None = None
        convert = () if output is None else (Resample(output[0], channels=output[1]),)
        self.source = Pipeline(_Reads(self), _Notes(self), name="source")
        pacer = pacer or Pacer(chunk_ms=CHUNK_MS, fade_ms=0)
        self._latency = Latency()
        self.sink = Pipeline(MayBeSilent(), *convert, pacer, self._latency, _Writes(self), name="sink")

    def statistics(self) -> SocketStatistics:
        """What has been counted so far."""
        return SocketStatistics(
            received=self._received,
            sent=self._sent,
            wrong=self._wrong,
            dropped=self._outbox.dropped,
            flushed=self._outbox.flushed,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer}>"

    # In -----------------------------------------------------------------------------------------------------------

    async def _read(self, out: Outlet[Came]) -> None:
        """Give what comes, until the peer has left. One that is being spoken to need not say anything."""
        idle = self.limits.idle_seconds
        self._wrote = anyio.current_time()
        while self.left is None:
            with anyio.CancelScope(deadline=self._wrote + idle) as self._reading:
                await self._read_on(out, self._reading)
            if self._wrote + idle <= anyio.current_time():
                self.leave(f"nothing came for {idle:g} s", code=1008)

    async def _read_on(self, out: Outlet[Came], scope: anyio.CancelScope) -> None:
        idle = self.limits.idle_seconds
        while self.left is None:
            try:
                data = await self._socket.receive()
            except SocketClosedError as error:
                self._lost(error)
                return
            now = anyio.current_time()
            if now + (1 - LAZY) * idle > scope.deadline:
                scope.deadline = now + idle
            self._received += 1
            self._take(data, out)

    def _take(self, data: Message, out: Outlet[Came]) -> None:
        if len(data) > self.limits.message_bytes:
            self.leave(f"a message of {len(data)} is longer than {self.limits.message_bytes} bytes", code=1009)
            return
        try:
            for each in self._wire.received(data):
                if isinstance(each, Finish):
                    self.leave(each.reason or "said goodbye", clean=True)
                    return
                if (frame := self._admits(each)) is not None:
                    if isinstance(frame, UserText):
                        self._latency.asked()
                    out.offer(frame)
        except ControlError as error:
            self._wrong += 1
            if (answer := self._wire.wrong(error)) is not None:
                self._outbox.urgent(answer)
                self._wake()
            if self._wrong > self.limits.wrong_messages:
                self.leave(f"{self._wrong} of its messages were wrong", code=1008)

    def _admits(self, frame: Came) -> Came | None:
        """What is given of what came."""
        return frame

    def _lost(self, error: SocketClosedError) -> None:
        self.leave(f"the connection was {error}", clean=error.code in (1000, 1001))

    def leave(self, reason: str, *, clean: bool = False, code: int = 1000) -> None:
        """The peer is gone, or should be: the first reason counts."""
        if self.left is not None:
            return
        self.left, self.code = PeerLeft(peer=self.peer, reason=reason, clean=clean), code
        if self._reading is not None:
            self._reading.cancel()
        self._wake()
        if self.on_left is not None:
            self.on_left()

    # Out ----------------------------------------------------------------------------------------------------------

    def write(self, data: Message) -> None:
        """Have a message written, in its turn."""
        self._outbox.add(data)
        self._wake()

    def _put(self, frame: Frame) -> None:
        outbox, wire = self._outbox, self._wire
        if isinstance(frame, Audio):
            ms = frame.ms
            for data in wire.sound(frame):
                outbox.add(data, epoch=frame.epoch, ms=ms)
                ms = 0.0
        else:
            urgent = frame.delivery is Delivery.URGENT
            if isinstance(frame, Interrupt):
                outbox.flush(frame.epoch)
            for data in wire.news(frame):
                if urgent:
                    outbox.urgent(data)
                else:
                    outbox.add(data, epoch=frame.epoch)
            if outbox.overfull:
                self.leave(f"{len(outbox)} messages waited for it", code=1008)
        self._wake()

    def _wake(self) -> None:
        if self.left is not None:
            self._outbox.clear()  # but for the answers to wrong messages, which are its last words
        if self._waits:
            self._changed.set()

    async def _write(self) -> None:
        """Write what waits, until all has been written that there will be, or the peer has left."""
        slow = self.limits.slow_seconds
        while self.left is None and not self._finished:
            with anyio.CancelScope(deadline=anyio.current_time() + slow) as self._writing:
                await self._write_on(self._writing)
            if self._sending and self._writing.cancelled_caught:
                self.leave(f"it did not read a message within {slow:g} s", code=1008)

    async def _write_on(self, scope: anyio.CancelScope) -> None:
        outbox, socket, slow = self._outbox, self._socket, self.limits.slow_seconds
        event = type(anyio.Event())  # to ask AnyIO for one costs as much again as to make it
        while self.left is None:
            data = outbox.pop()
            if data is None:
                if self._finishing:
                    self._finished = True
                    return
                self._changed, self._waits = event(), True
                await self._changed.wait()
                self._waits = False
                continue
            now = anyio.current_time()
            if now + (1 - LAZY) * slow > scope.deadline:
                scope.deadline = now + slow
            self._sending = True
            try:
                await socket.send(data)
            except SocketClosedError as error:
                self._lost(error)
                return
            self._sending = False
            self._sent += 1
            self._wrote = now

    async def farewell(self, ending: Ending) -> None:
        """Say why it is over, and close the socket. For whoever ran the session, when that has ended."""
        code, reason = _FAREWELLS[ending] if self.left is None else (self.code, self.left.reason)
        await self.dismiss(code, reason, tell=self.left is None or self.code != 1000)

    async def dismiss(self, code: int, reason: str, *, tell: bool = True) -> None:
        """Close the socket, after a last word."""
        if tell and (data := self._wire.ending(reason)) is not None:
            self._outbox.clear()
            self._outbox.urgent(data)
            with anyio.move_on_after(LAST_WORD), suppress(SocketClosedError):
                while (data := self._outbox.pop()) is not None:
                    await self._socket.send(data)
        await self._socket.close(code, reason)


_FAREWELLS: dict[Ending, tuple[int, str]] = {
    "left": (1000, "the agent has ended it"),
    "failed": (1011, "the session failed"),
    "expired": (1000, "it has lasted as long as it may"),
    "drained": (1001, "the server is going away"),
}


class _Reads(Processor):
    """Gives what comes from the peer."""

    name = "reads"

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport

    async def run(self, out: Outlet[Came]) -> None:
        """Until the peer has left, which ends what is being said."""
        transport = self._transport
        await out.send(PeerJoined(peer=transport.peer))
        await transport._read(out)
        await out.send(Interrupt(reason="the peer has left"))
        if transport.left is not None:
            await out.send(transport.left)


class _Notes(Processor):
    """Tells the peer what comes up."""

    name = "notes"

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport

    def process(self, frame: Noted) -> None:
        """Tell: those above hear it, too, without being given it."""
        self._transport._put(frame)


class _Writes(Processor):
    """Writes to the peer what it takes, in a task of its own."""

    name = "writes"

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._transport._write)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        self._transport._finishing = True
        self._transport._wake()
        self._group.cancel_scope.deadline = anyio.current_time() + self._transport.limits.slow_seconds
        await self._group.__aexit__(None, None, None)

    def process(self, frame: Audio | Told | Marked) -> Iterator[Played]:
        """Have it written; say what has been heard, where the peer says so."""
        self._transport._put(frame)
        yield from self._transport._wire.played(frame)
