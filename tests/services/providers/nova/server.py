"""A server of HTTP/2 in a test's hand: one connection, one stream, and all the faults that a test asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
from anyio.streams.stapled import StapledObjectStream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, WindowUpdated
from h2.exceptions import ProtocolError

GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Server:
    """The server's end of a connection."""

    def __init__(self, stream: Any) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        """What came, and was not taken."""
        self.ended = False
        self.gone = False
        self.reads = True
        """It makes room for more when something has come."""
        self.deaf = False
        """It hears nothing any more."""
        self._stream = stream
        self._held = 0
        self._lock, self._saying = anyio.Lock(), anyio.Lock()
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Listen until the connection ends."""
        self.h2.initiate_connection()
        await self.flush()
        try:
            while True:
                data = await self._stream.receive()
                if self.deaf:
                    continue
                for event in self.h2.receive_data(data):
                    self._happened(event)
                await self.flush()
        except (*GONE, ProtocolError):
            self.gone = True
            self._wake()

    def _happened(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            self.headers = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, DataReceived):
            self.body += event.data
            self._held += event.flow_controlled_length
            if self.reads:
                self.make_room()
        elif isinstance(event, StreamEnded):
            self.ended = True
        assert event is not None
        if isinstance(event, DataReceived | RequestReceived | StreamEnded | WindowUpdated):
            self._wake()

    def make_room(self) -> None:
        """Let the client send more."""
        with suppress(ProtocolError):
            if self._held:
                self.h2.acknowledge_received_data(self._held, 1)
        self._held = 0

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to come about by what the client sends."""
        while not true():
            if self.gone:
                raise anyio.EndOfStream
            await self._changed.wait()

    async def requested(self) -> dict[str, str]:
        """The request's headers."""
        await self.until(lambda: bool(self.headers))
        return self.headers

    async def take(self, least: int = 1) -> bytes:
        """What has come of the body, at least so much; less at its end."""
        await self.until(lambda: len(self.body) >= least or self.ended)
        data = bytes(self.body)
        self.body.clear()
        return data

    async def flush(self) -> None:
        async with self._lock:
            if data := self.h2.data_to_send():
                with suppress(*GONE):
                    await self._stream.send(data)

    # What it says -------------------------------------------------------------------------------------------------

    async def answer(self, status: int | str = 200, **headers: str) -> None:
        await self.requested()
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.h2.send_headers(1, [(":status", str(status)), *named])
        await self.flush()

    async def say(self, data: bytes) -> None:
        """Send some of the body, whole, as fast as the client lets us; nothing when all is over."""
        async with self._saying:
            with suppress(ProtocolError):
                while data:
                    await self.until(lambda: self.h2.local_flow_control_window(1) > 0)
                    size = min(self.h2.local_flow_control_window(1), self.h2.max_outbound_frame_size)
                    self.h2.send_data(1, data[:size])
                    data = data[size:]
                    await self.flush()

    async def end(self) -> None:
        self.h2.end_stream(1)
        await self.flush()

    async def reset(self, code: int) -> None:
        self.h2.reset_stream(1, code)
        await self.flush()

    async def go_away(self, code: int = 0, why: bytes = b"") -> None:
        self.h2.close_connection(code, why)
        await self.flush()

    async def raw(self, data: bytes) -> None:
        await self._stream.send(data)

    async def hang_up(self) -> None:
        await self._stream.aclose()


Handler = Callable[[Server], Awaitable[None]]


@asynccontextmanager
async def in_memory(handler: Handler) -> AsyncIterator[Any]:
    """The client's end of a connection in memory, whose other end the handler serves."""
    up, there_in = anyio.create_memory_object_stream[bytes](1)
    down, here_in = anyio.create_memory_object_stream[bytes](1)
    here, there = StapledObjectStream(up, here_in), StapledObjectStream(down, there_in)
    server = Server(there)

    scope = anyio.CancelScope(shield=True)  # a server knows nothing of who gives up on the other side

    async def serve() -> None:
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(server.run)
                with suppress(anyio.EndOfStream):
                    await handler(server)

    async with here, there, anyio.create_task_group() as group:
        group.start_soon(serve)
        try:
            yield here
        finally:
            scope.cancel()
