"""One request of HTTP/2 whose body and answer flow at the same time, alone on its connection, on either backend.

`h2` knows the protocol; here are the tasks that carry its bytes, and the waits. Nothing grows without bound: what
is sent waits for the peer's window and for the socket, and what is received is only acknowledged when it is taken.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.abc

from bargein.pipeline.lowlevel import import_extra
from bargein.services.sockets import SocketClosedError

__all__ = ["WINDOW", "Http2Exchange", "exchange"]

WINDOW: Final = 2**20
"""Bytes that the peer may send before somebody has taken any: 12 s of speech, as it comes."""
WAITING: Final = 64 * 1024
"""Bytes that may wait for the socket before a sender waits, too."""
BEAT_S: Final = 20.0
"""So often the peer is asked whether it is there, and so long it may take to say so."""
GRACE_S: Final = 0.2
"""How long the last bytes may take."""
GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.BusyResourceError, OSError, ssl.SSLError)


class Http2Exchange:
    """The request, once it has been sent, and its answer. One task may send while another receives."""

    def __init__(self, stream: anyio.abc.ByteStream, url: str, headers: Mapping[str, str]) -> None:
        connection, config = (
            import_extra("h2.connection", "nova", "NovaSonic()"),
            import_extra("h2.config", "nova", "NovaSonic()"),
        )
        codes = import_extra("h2.settings", "nova", "NovaSonic()")
        self._events = import_extra("h2.events", "nova", "NovaSonic()")
        self._error = import_extra("h2.exceptions", "nova", "NovaSonic()").H2Error
        self._names = import_extra("h2.errors", "nova", "NovaSonic()").ErrorCodes
        self._stream = stream
        self._h2 = connection.H2Connection(config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.local_settings[codes.SettingCodes.INITIAL_WINDOW_SIZE] = WINDOW
        self._h2.local_settings[codes.SettingCodes.ENABLE_PUSH] = 0
        self._h2.local_settings.acknowledge()
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW - 65_535)
        self._id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._id, [*_pseudo(url), *((name, headers[name]) for name in headers if name != "host")])
        self._out = bytearray(self._h2.data_to_send())
        self._in: deque[tuple[bytes, int]] = deque()
        self._ended = False  # the answer is complete
        self._there = True  # the peer has answered the last ping
        self._closed: tuple[int, str] | None = None
        self._changed = anyio.Event()
        self.status: int | None = None
        """The answer's, once it has begun."""
        self.headers: Mapping[str, str] = {}
        """The answer's."""

    async def answered(self) -> int:
        """Wait for the answer's beginning; its status. Raises `SocketClosedError`."""
        while self.status is None:
            self._raise_if_closed()
            await self._changed.wait()
        return self.status

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Send more of the body, when there is room for it; `end` says that nothing follows. Raises
        `SocketClosedError`."""
        view = memoryview(data)
        while view or end:
            self._raise_if_closed()
            try:
                room = min(self._h2.local_flow_control_window(self._id), self._h2.max_outbound_frame_size)
                if len(self._out) < WAITING and (room > 0 or not view):
                    piece, view = view[:room], view[room:]
                    last = end and not view
                    self._h2.send_data(self._id, bytes(piece), end_stream=last)
                    self._collect()
                    if last:
                        return
                    continue
            except self._error as error:
                self._close(1006, f"the stream cannot be written to: {error}")
                continue
            await self._changed.wait()

    async def receive(self) -> bytes:
        """More of the answer's body; nothing when it is complete. Raises `SocketClosedError`."""
        while not self._in:
            if self._ended:
                return b""
            self._raise_if_closed()
            await self._changed.wait()
        data, size = self._in.popleft()
        if self._closed is None:
            self._h2.acknowledge_received_data(size, self._id)
            self._collect()
        return data

    async def flushed(self) -> None:
        """Wait until what was sent has left."""
        while self._out and self._closed is None:
            await self._changed.wait()

    # Bytes --------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Carry the peer's bytes in, until there are no more."""
        while self._closed is None:
            try:
                data = await self._stream.receive()
            except (anyio.EndOfStream, *GONE) as error:
                self._close(1006, f"the connection is lost ({type(error).__name__})")
                return
            try:
                for event in self._h2.receive_data(data):
                    self._happened(event)
            except (self._error, UnicodeDecodeError) as error:
                self._close(1002, f"the server does not speak HTTP/2 as it should: {error or type(error).__name__}")
            self._collect()

    async def write(self) -> None:
        """Carry our bytes out."""
        while True:
            while self._out:
                data = bytes(self._out)
                try:
                    await self._stream.send(data)
                except GONE as error:
                    self._close(1006, f"the connection is lost ({type(error).__name__})")
                    return
                del self._out[: len(data)]
                self._wake()
            await self._changed.wait()

    async def beat(self) -> None:
        """Notice a connection that is dead, of which nothing else would tell."""
        while self._closed is None:
            self._there = False
            self._h2.ping(b"bargein?")
            self._collect()
            await anyio.sleep(BEAT_S)
            if not self._there:
                self._close(1006, f"the server has not answered for {BEAT_S:g} s")

    def _collect(self) -> None:
        self._out += self._h2.data_to_send()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _happened(self, event: Any) -> None:
        events = self._events
        if isinstance(event, events.DataReceived):
            if event.data:
                self._in.append((event.data, event.flow_controlled_length))
            else:
                self._h2.acknowledge_received_data(event.flow_controlled_length, self._id)
        elif isinstance(event, events.ResponseReceived):
            self.headers = dict(event.headers)
            self.status = int(self.headers[":status"])
        elif isinstance(event, events.PingAckReceived):
            self._there = True
        elif isinstance(event, events.StreamEnded):
            self._ended = True
        elif isinstance(event, events.StreamReset):
            if not self._ended:  # it may also mean that the rest of our body is not wanted
                self._close(1006, f"the server broke the stream off: {self._name(event.error_code)}")
        elif isinstance(event, events.ConnectionTerminated):
            said = (event.additional_data or b"").decode("utf-8", "replace")[:100]
            why = f"the server goes away: {self._name(event.error_code)}{f' ({said})' if said else ''}"
            self._close(1001, why)

    def _name(self, code: Any) -> str:
        return self._names(code).name if code in list(self._names) else f"error {code}"

    def _close(self, code: int, reason: str) -> None:
        self._closed = self._closed or (code, reason)
        self._wake()

    def _raise_if_closed(self) -> None:
        if self._ended:
            raise SocketClosedError(1000, "the server has said all it had to say")
        if self._closed is not None:
            raise SocketClosedError(*self._closed)


def _pseudo(url: str) -> list[tuple[str, str]]:
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    return [(":method", "POST"), (":scheme", parts.scheme), (":authority", parts.netloc), (":path", path)]


@asynccontextmanager
async def exchange(stream: anyio.abc.ByteStream, url: str, headers: Mapping[str, str]) -> AsyncIterator[Http2Exchange]:
    """Send a `POST` over a stream that is connected; while the block runs, its body and its answer flow.

    Its tasks go on until the block has ended, also where that was called off: a farewell may still be sent.
    """
    talk = Http2Exchange(stream, url, headers)
    tasks = (talk.read, talk.write, talk.beat)
    scopes = [anyio.CancelScope(shield=True) for _ in tasks]

    async def carry(how: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        with scope:
            await how()

    async with anyio.create_task_group() as group:
        for how, scope in zip(tasks, scopes, strict=True):
            group.start_soon(carry, how, scope)
        try:
            yield talk
        finally:
            with anyio.move_on_after(GRACE_S, shield=True):
                await talk.flushed()
            for scope in scopes:
                scope.cancel()
