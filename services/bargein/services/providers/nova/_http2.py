"""One HTTP/2 request whose body and response flow at the same time, alone on its connection, on either backend.

`h2` implements the protocol without I/O; the tasks here carry its bytes. Memory is bounded: what is sent waits for the
peer's window and for the socket, and received data is only acknowledged when it is taken.

What is relied on in h2 (tried with 4.1 to 4.4), beyond its documentation: settings that are changed and acknowledged
before `initiate_connection` are part of the first SETTINGS frame and hold for the first stream. If that changes, the
test `test_the_settings_are_in_the_first_frame` fails.

At DEBUG, `hpack` logs every header with its value, except headers that are marked as never indexed, and every encoded
block of headers. The secret headers are marked, and a filter drops the records of blocks, which could be decoded.
`test_no_key_is_in_a_log` fails if `hpack` (tried with 4.2) logs them in another way.
"""

from __future__ import annotations

import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.abc

from bargein.pipeline.lowlevel import import_extra
from bargein.services.sockets import SocketClosedError

from ._signing import TOKEN_HEADER

__all__ = ["WINDOW", "Http2Exchange", "exchange"]

WINDOW: Final = 2**20
"""Bytes that the peer may send ahead of `receive`: 12 s of speech as it comes."""
MAX_UNSENT_BYTES: Final = 64 * 1024
"""Bytes that may wait for the socket; then `send` waits as well."""
PING_SECONDS: Final = 20.0
"""How often the peer is pinged, and how long it may take to answer."""
FLUSH_SECONDS: Final = 0.2
"""How long the last bytes may take to leave."""
SECRET_HEADERS: Final = frozenset({TOKEN_HEADER, "authorization"})
"""Headers whose values may be in no log."""
CONNECTION_ERRORS: Final = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    OSError,
    ssl.SSLError,
)


logging.getLogger("hpack.hpack").addFilter(lambda record: not str(record.msg).startswith("Encoded header block"))


def _h2(module: str) -> ModuleType:
    found: ModuleType = import_extra(f"h2.{module}", "nova", "NovaSonic()")
    return found


class Http2Exchange:
    """A `POST` request that is being sent, and its response. One task may send while another receives."""

    def __init__(self, stream: anyio.abc.ByteStream, url: str, headers: Mapping[str, str]) -> None:
        self._events = _h2("events")
        self._error = _h2("exceptions").H2Error
        self._error_codes = _h2("errors").ErrorCodes
        self._stream = stream
        self._h2 = _h2("connection").H2Connection(
            _h2("config").H2Configuration(client_side=True, header_encoding="utf-8")
        )
        codes = _h2("settings").SettingCodes
        self._h2.local_settings[codes.INITIAL_WINDOW_SIZE] = WINDOW
        self._h2.local_settings[codes.ENABLE_PUSH] = 0
        self._h2.local_settings.acknowledge()
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW - 65_535)  # the connection's own window begins with 65,535
        self._id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._id, [*_pseudo_headers(url), *_fields(headers)])
        self._unsent = bytearray(self._h2.data_to_send())
        self._received: deque[tuple[bytes, int]] = deque()  # data, and its length in the flow control
        self._ended = False  # the response is complete
        self._answered_ping = True
        self._closed: tuple[int, str] | None = None
        self._changed = anyio.Event()
        self.status: int | None = None
        """The status of the response; None until it has begun."""
        self.headers: Mapping[str, str] = {}
        """The headers of the response."""

    async def answered(self) -> int:
        """Wait for the beginning of the response and return its status. Raises `SocketClosedError`."""
        while self.status is None:
            self._raise_if_closed()
            await self._changed.wait()
        return self.status

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Send more of the body, waiting until there is room.

        Args:
            data: The bytes.
            end: Whether nothing follows.

        Raises:
            SocketClosedError: The stream or the connection is closed.
        """
        view = memoryview(data)
        while view or end:
            self._raise_if_closed()
            try:
                room = min(self._h2.local_flow_control_window(self._id), self._h2.max_outbound_frame_size)
                if len(self._unsent) < MAX_UNSENT_BYTES and (room > 0 or not view):
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
        """Return more of the response's body, or nothing at its end. Raises `SocketClosedError`."""
        while not self._received:
            if self._ended:
                return b""
            self._raise_if_closed()
            await self._changed.wait()
        data, size = self._received.popleft()
        if self._closed is None:
            self._h2.acknowledge_received_data(size, self._id)
            self._collect()
        return data

    async def flushed(self) -> None:
        """Wait until all bytes have been sent to the socket."""
        while self._unsent and self._closed is None:
            await self._changed.wait()

    # Tasks --------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Feed the peer's bytes to h2 until the connection is closed."""
        while self._closed is None:
            try:
                data = await self._stream.receive()
            except (anyio.EndOfStream, *CONNECTION_ERRORS) as error:
                self._close(1006, f"the connection is lost ({type(error).__name__})")
                return
            try:
                for event in self._h2.receive_data(data):
                    self._on_event(event)
            except (self._error, UnicodeDecodeError) as error:
                self._close(1002, f"the server does not speak HTTP/2 as it should: {error or type(error).__name__}")
            self._collect()

    async def write(self) -> None:
        """Send h2's bytes to the socket."""
        while True:
            while self._unsent:
                data = bytes(self._unsent)
                try:
                    await self._stream.send(data)
                except CONNECTION_ERRORS as error:
                    self._close(1006, f"the connection is lost ({type(error).__name__})")
                    return
                del self._unsent[: len(data)]
                self._wake()
            await self._changed.wait()

    async def ping(self) -> None:
        """Ping the peer at intervals. A dead TCP connection is noticed in no other way."""
        while self._closed is None:
            self._answered_ping = False
            self._h2.ping(b"bargein?")
            self._collect()
            await anyio.sleep(PING_SECONDS)
            if not self._answered_ping:
                self._close(1006, f"the server has not answered for {PING_SECONDS:g} s")

    def _collect(self) -> None:
        self._unsent += self._h2.data_to_send()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _on_event(self, event: Any) -> None:
        events = self._events
        if isinstance(event, events.DataReceived):
            if event.data:
                self._received.append((event.data, event.flow_controlled_length))
            else:
                self._h2.acknowledge_received_data(event.flow_controlled_length, self._id)
        elif isinstance(event, events.ResponseReceived):
            self.headers = dict(event.headers)
            self._read_status(self.headers.get(":status", ""))
        elif isinstance(event, events.PingAckReceived):
            self._answered_ping = True
        elif isinstance(event, events.StreamEnded):
            self._ended = True
        elif isinstance(event, events.StreamReset):
            if not self._ended:  # after the end of the response it only means that the rest of our body is not wanted
                self._close(1006, f"the server broke the stream off: {self._error_name(event.error_code)}")
        elif isinstance(event, events.ConnectionTerminated):
            text = (event.additional_data or b"").decode("utf-8", "replace")[:100]
            reason = f"the server goes away: {self._error_name(event.error_code)}{f' ({text})' if text else ''}"
            self._close(1001, reason)

    def _read_status(self, text: str) -> None:
        if len(text) == 3 and text.isascii() and text.isdigit():
            self.status = int(text)
        else:
            self._close(
                1002, f"the server answers with the status {text[:20]!r}, which is not a number of three digits"
            )

    def _error_name(self, code: Any) -> str:
        return self._error_codes(code).name if code in list(self._error_codes) else f"error {code}"

    def _close(self, code: int, reason: str) -> None:
        self._closed = self._closed or (code, reason)
        self._wake()

    def _raise_if_closed(self) -> None:
        if self._ended:
            raise SocketClosedError(1000, "the server has ended its stream")
        if self._closed is not None:
            raise SocketClosedError(*self._closed)


def _pseudo_headers(url: str) -> list[tuple[str, str]]:
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    return [(":method", "POST"), (":scheme", parts.scheme), (":authority", parts.netloc), (":path", path)]


def _fields(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers, the secret ones marked: they go into no table of compression, and into no log."""
    secret: Callable[[str, str], tuple[str, str]] = import_extra("hpack", "nova", "NovaSonic()").NeverIndexedHeaderTuple
    return [
        secret(name, value) if name in SECRET_HEADERS else (name, value)
        for name, value in headers.items()
        if name != "host"
    ]


@asynccontextmanager
async def exchange(stream: anyio.abc.ByteStream, url: str, headers: Mapping[str, str]) -> AsyncIterator[Http2Exchange]:
    """Send a `POST` request over a connected stream and yield it while its body and response flow.

    The tasks are shielded and run until the block has ended, so that a cancelled block can still send its last message.

    Args:
        stream: A TLS stream that has negotiated HTTP/2.
        url: The address of the request.
        headers: The headers, by lower-case names.
    """
    request = Http2Exchange(stream, url, headers)
    tasks = (request.read, request.write, request.ping)
    scopes = [anyio.CancelScope(shield=True) for _ in tasks]

    async def run(task: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        with scope:
            await task()

    async with anyio.create_task_group() as group:
        for task, scope in zip(tasks, scopes, strict=True):
            group.start_soon(run, task, scope)
        try:
            yield request
        finally:
            with anyio.move_on_after(FLUSH_SECONDS, shield=True):
                await request.flushed()
            for scope in scopes:
                scope.cancel()
