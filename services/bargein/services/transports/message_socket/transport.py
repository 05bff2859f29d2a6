"""`SocketTransport`: one peer on a message socket, with a task that reads and a task that writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import msgspec

from bargein.pipeline import Audio, Delivery, Failure, Frame, Interrupt, Outlet, Pipeline, Played, Processor, UserText
from bargein.pipeline.lowlevel import check_options, stood_still
from bargein.processors import Commit, DeliveredSound, Latency, Pacer, Resample
from bargein.services.frames import without_details
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.sockets.rate_limiter import MessageRate
from bargein.services.transports.control import ControlError, Finish, SinkEvent, SourceEvent
from bargein.services.transports.frames import PeerJoined, PeerLeft
from bargein.services.transports.sessions import Ending, SessionLimits
from bargein.services.transports.transport import MayBeSilent, Peer, Transport

from ._message_queue import MessageQueue
from .wire import Marked, Message, UserFrame, Wire

__all__ = ["SocketStatistics", "SocketTransport"]

MAX_WAITING_AUDIO_MS = 2_000.0
"""Amount of sound that may wait for a peer that reads slowly. Older sound would belong to an answer that is over."""
CHUNK_MS = 40.0
"""Length of a piece of sound, in milliseconds. Each message has a fixed cost, so longer pieces are cheaper. After an
interrupt a player finishes the piece that it plays."""
MAX_WAITING_MESSAGES = 2_000
"""Messages that may wait for a peer that reads slowly."""
LAST_MESSAGE_SECONDS = 1.0
"""Longest time that the last message may take."""
DEADLINE_SLACK = 0.1
"""A deadline is moved only when it would move by this share of its bound, because moving it costs as much as sending a
message."""


class SocketStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one `SocketTransport`."""

    received: int = 0
    """Messages that came."""
    sent: int = 0
    """Messages that were written."""
    wrong: int = 0
    """Messages that could not be understood."""
    dropped: int = 0
    """Messages with sound that were not written, because the peer did not keep up."""
    flushed: int = 0
    """Messages that were not written, because an interrupt made them stale."""


class SocketTransport(Transport):
    """A transport on any socket that has `send`, `receive` and `close`. A `Wire` makes and reads its messages.

    It ends when the peer ends the conversation, when the connection is lost, after `idle_seconds` of silence, when a
    message is not read within `slow_seconds`, and after too many wrong messages. Then it interrupts what the agent is
    saying, sends `PeerLeft` with the reason, and the session ends. The socket stays open for a last message: see
    `close_after`.

    Args:
        socket: The connection. The transport does not open it.
        wire: Makes and reads the messages.
        peer: The other end.
        limits: The limits of the peer.
        pacer: Paces the agent's sound; by default in pieces of 40 ms, without a fade.
        output: Rate in Hz and number of channels to which the agent's sound is converted; None for no conversion.
    """

    @check_options
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
        """The limits of the peer."""
        self.left: PeerLeft | None = None
        """How the peer left; None while it is there."""
        self.code = 1000
        """The code with which the socket is closed."""
        self.make_ready: Callable[[], Message] | None = None
        """Makes the first message to the peer, when the session begins: only then is it known whether it goes on with
        an earlier conversation. None if the peer expects no such message."""
        self._socket = socket
        self._wire = wire
        self._queue = MessageQueue(
            max_audio_ms=MAX_WAITING_AUDIO_MS, max_messages=MAX_WAITING_MESSAGES, on_drop=self._on_drop
        )
        self._rate = MessageRate(self.limits.max_messages_per_second)
        self._received = self._sent = self._wrong = 0
        self._written_at = 0.0  # when a message was written last
        self._changed = anyio.Event()
        self._waits = self._sending = self._finishing = self._finished = False  # the state of the writer's task
        self._reading: anyio.CancelScope | None = None
        convert = () if output is None else (Resample(output[0], channels=output[1]),)
        self.source = Pipeline(_SocketReader(self), _EventForwarder(self), name="source")
        self._delivered = DeliveredSound()
        pacer = pacer or Pacer(chunk_ms=CHUNK_MS, fade_ms=0, delivered=self._delivered)
        self._latency = Latency()
        self.sink = Pipeline(MayBeSilent(), *convert, pacer, self._latency, _SocketWriter(self), name="sink")

    def statistics(self) -> SocketStatistics:
        """Return the counters."""
        return SocketStatistics(
            received=self._received,
            sent=self._sent,
            wrong=self._wrong,
            dropped=self._queue.dropped,
            flushed=self._queue.flushed,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer}>"

    # Reading --------------------------------------------------------------------------------------------------------

    async def _read(self, out: Outlet[UserFrame]) -> None:
        """Send the peer's frames until it has left. A peer that listens to the agent need not send anything."""
        idle = self.limits.idle_seconds
        self._written_at = anyio.current_time()
        due = self._written_at + idle
        while self.left is None:
            with anyio.CancelScope(deadline=due) as self._reading:
                await self._read_until_idle(out, self._reading)
            now = anyio.current_time()
            due = max(self._written_at + idle, self._reading.deadline)
            if due > now:  # the agent spoke, or a message came just as the time ran out
                continue
            if stood_still(self._reading.deadline):  # the peer's messages of that time are not read yet
                due = now + idle * DEADLINE_SLACK
            else:
                self.leave(f"nothing came for {idle:g} s", code=1008)

    async def _read_until_idle(self, out: Outlet[UserFrame], scope: anyio.CancelScope) -> None:
        idle = self.limits.idle_seconds
        while self.left is None:
            try:
                data = await self._socket.receive()
            except SocketClosedError as error:
                self._on_connection_lost(error)
                return
            now = anyio.current_time()
            if now + (1 - DEADLINE_SLACK) * idle > scope.deadline:
                scope.deadline = now + idle
            self._received += 1
            if wait := self._rate.take(now, action=self._handle(data, out)):
                await anyio.sleep(wait)  # what the peer sends meanwhile waits in its own buffers

    def _handle(self, data: Message, out: Outlet[UserFrame]) -> bool:
        """Send the frame of a message to the graph. Return whether the agent acts on it."""
        action = False
        if len(data) > self.limits.max_message_bytes:
            self.leave(f"a message of {len(data)} is longer than {self.limits.max_message_bytes} bytes", code=1009)
            return action
        try:
            for each in self._wire.decode(data):
                if isinstance(each, Finish):
                    self.leave(each.reason or "said goodbye", clean=True)
                    return action
                if isinstance(each, Frame) and (frame := self._filter(each)) is not None:
                    if isinstance(frame, UserText):
                        self._latency.note_question()
                    action = action or isinstance(frame, UserText | Commit | Interrupt)
                    out.offer(frame)
        except ControlError as error:
            self._wrong += 1
            if (answer := self._wire.encode_error(error)) is not None:
                self._queue.add_urgent(answer)
                self._wake()
            if self._wrong > self.limits.max_wrong_messages:
                self.leave(f"{self._wrong} of its messages were wrong", code=1008)
        return action

    def _filter(self, frame: Frame) -> UserFrame | None:
        """Return the frame to send for a frame of the peer; None to drop it. A client overrides this."""
        assert isinstance(frame, UserFrame)
        return frame

    def _on_connection_lost(self, error: SocketClosedError) -> None:
        self.leave(f"the connection was {error}", clean=error.code in (1000, 1001))

    def leave(self, reason: str, *, clean: bool = False, code: int = 1000) -> None:
        """Note that the peer is gone, or has to go. Only the first call counts.

        Args:
            reason: Why, in a sentence.
            clean: Whether the peer said goodbye.
            code: The code with which its socket is closed.
        """
        if self.left is not None:
            return
        self.left, self.code, self.lost = PeerLeft(peer=self.peer, reason=reason, clean=clean), code, not clean
        if self._reading is not None:
            self._reading.cancel()
        self._wake()
        if self.on_left is not None:
            self.on_left()

    # Writing --------------------------------------------------------------------------------------------------------

    def write(self, data: Message) -> None:
        """Queue a message for the peer.

        Args:
            data: The message.
        """
        self._queue.add(data)
        self._wake()

    def _put(self, frame: Frame) -> None:
        queue = self._queue
        if frame.delivery is Delivery.URGENT:
            if isinstance(frame, Interrupt):
                queue.flush(frame.epoch)
                self._delivered.flush(frame.epoch)
            for data in self._wire.encode_event(frame):
                queue.add_urgent(data)
        else:
            if isinstance(frame, Audio):
                self._delivered.take(frame)
            queue.add(frame)
        if queue.overfull:
            self.leave(f"{len(queue)} messages waited for it", code=1008)
        self._wake()

    def _wake(self) -> None:
        if self.left is not None:
            self._queue.clear()  # all but the answers to wrong messages, which say why it has to go
            self._delivered.flush(math.inf)
        if self._waits:
            self._changed.set()

    async def _write(self) -> None:
        """Write what waits, until nothing more will come or the peer has left."""
        slow = self.limits.slow_seconds
        while self.left is None and not self._finished:
            with anyio.CancelScope(deadline=anyio.current_time() + slow) as self._writing:
                await self._write_until_slow(self._writing)
            if self._sending and self._writing.cancelled_caught:
                self.leave(f"it did not read a message within {slow:g} s", code=1008)

    async def _write_until_slow(self, scope: anyio.CancelScope) -> None:
        queue, socket, slow = self._queue, self._socket, self.limits.slow_seconds
        event = type(anyio.Event())  # anyio.Event() looks up the backend each time, which doubles the cost
        while self.left is None:
            message = queue.pop()
            if message is None:
                if self._finishing:
                    self._finished = True
                    return
                self._changed, self._waits = event(), True
                await self._changed.wait()
                self._waits = False
                continue
            now = anyio.current_time()
            if now + (1 - DEADLINE_SLACK) * slow > scope.deadline:
                scope.deadline = now + slow
            self._sending = True
            try:
                for data in self._encode(message.data):
                    if message.epoch < queue.epoch:
                        break  # an interrupt came between two messages of the frame
                    await socket.send(data)
                    self._sent += 1
            except SocketClosedError as error:
                self._on_connection_lost(error)
                return
            self._sending = False
            self._written_at = now
            if isinstance(message.data, Audio):
                self._delivered.deliver(message.data)

    def _encode(self, data: Message | Frame) -> Iterable[Message]:
        """Return the messages of a queued frame. They are made only now, so that a wire counts what is really sent."""
        if isinstance(data, Audio):
            return self._wire.encode_audio(data)
        return self._wire.encode_event(data) if isinstance(data, Frame) else (data,)

    def _on_drop(self, frame: Audio) -> None:
        """Note that the peer will have a gap in this sound."""
        self._wire.skip_audio(frame)
        self._delivered.drop(frame)

    def _report_played(self, frame: Frame) -> Iterator[Played]:
        """Yield what the peer has confirmed as played, with the gaps."""
        for played in self._wire.report_played(frame):
            yield self._delivered.add_gaps(played)

    # The end --------------------------------------------------------------------------------------------------------

    async def close_after(self, ending: Ending) -> None:
        """Tell the peer why the session is over, and close the socket. Call it when the session has ended.

        Args:
            ending: How the session ended.
        """
        code, reason = _CLOSE_CODES[ending] if self.left is None else (self.code, self.left.reason)
        if self.failure and self.left is None:
            reason = f"{reason}: {self.failure}"
        await self.close(code, reason, tell=self.left is None or self.code != 1000)

    async def close(self, code: int, reason: str, *, tell: bool = True) -> None:
        """Close the socket.

        Args:
            code: The WebSocket's close code.
            reason: Why, in a sentence.
            tell: Whether the peer gets a last message with the reason first.
        """
        if tell and (data := self._wire.encode_end(reason)) is not None:
            self._queue.clear()
            self._queue.add_urgent(data)
            with anyio.move_on_after(LAST_MESSAGE_SECONDS), suppress(SocketClosedError):
                while (message := self._queue.pop()) is not None:
                    for each in self._encode(message.data):
                        await self._socket.send(each)
        await self._socket.close(code, reason)


_CLOSE_CODES: dict[Ending, tuple[int, str]] = {
    "left": (1000, "the agent has ended it"),
    "failed": (1011, "the session failed"),
    "expired": (1000, "it has reached its maximum duration"),
    "drained": (1001, "the server is going away"),
}


class _SocketReader(Processor):
    """Sends what comes from the peer."""

    name = "reads"

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport

    async def run(self, out: Outlet[UserFrame]) -> None:
        """Send frames until the peer has left, then interrupt what is being said to it."""
        transport = self._transport
        await out.send(PeerJoined(peer=transport.peer))
        await transport._read(out)
        await out.send(Interrupt(reason="the peer has left"))
        if transport.left is not None:
            await out.send(transport.left)


class _EventForwarder(Processor):
    """Sends the peer the events that come up the graph."""

    name = "notes"

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport

    def process(self, frame: SourceEvent) -> None:
        """Send the frame's message. Processors above take the event by themselves, so it is not passed on."""
        if isinstance(frame, Failure) and not self._transport.show_errors:
            frame = without_details(frame)
        self._transport._put(frame)


class _SocketWriter(Processor):
    """Writes what it takes to the peer, in its own task."""

    name = "writes"

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        if self._transport.make_ready is not None:
            self._transport.write(self._transport.make_ready())
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

    def process(self, frame: Audio | SinkEvent | Marked) -> Iterator[Played]:
        """Queue the frame's messages, and report what the peer has confirmed as played."""
        if not isinstance(frame, Marked):
            self._transport._put(frame)
        yield from self._transport._report_played(frame)
