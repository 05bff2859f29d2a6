"""A client that floods a server: its pings end its connection, and one read takes little of the event loop's time."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import sniffio
import trustme
from anyio.streams.tls import TLSStream

from bargein.services.sockets import Endpoint, Socket, SocketClosedError, dial, listen
from bargein.services.sockets.rate_limiter import CONTROLS_BURST
from bargein.services.sockets.read_gate import READ_BYTES

PING = b"\x89\x80\0\0\0\0"
"""A ping without content, with a mask of zeros."""
CLOSE = 0x88
"""The first byte of a close frame."""
CHANGED = "websockets has changed: bargein.services.sockets._server_connection must follow it"


async def echo(socket: Socket, request: Any) -> None:
    """Send back what comes."""
    while True:
        await socket.send(await socket.receive())


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server and of its client."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def upgraded(port: int, context: ssl.SSLContext | None = None) -> anyio.abc.ByteStream:
    """Open a WebSocket by hand, since clients do not let one send pings without a pause."""
    stream: anyio.abc.ByteStream = await anyio.connect_tcp("127.0.0.1", port)
    if context is not None:
        stream = await TLSStream.wrap(stream, hostname="127.0.0.1", ssl_context=context, standard_compatible=False)
    key = base64.b64encode(bytes(16)).decode()
    lines = ["GET / HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    await stream.send("\r\n".join(lines).encode())
    assert b" 101 " in await stream.receive()
    return stream


def test_pings_are_counted_in_a_program_that_asyncio_runs() -> None:
    """There AnyIO does not know its backend in a callback. The server answers the ping, and the close."""
    faults: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        async with listen(echo) as port:
            stream = await upgraded(port)
            async with stream:
                await stream.send(PING)
                with anyio.fail_after(10):
                    assert await stream.receive() == b"\x8a\x00"
            async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/")) as socket:
                await socket.send("hello")
                assert await socket.receive() == "hello"

    asyncio.run(main())
    assert not faults


@pytest.mark.real
@pytest.mark.every_backend
async def test_a_flood_of_pings_ends_the_connection() -> None:
    """With the code for a broken rule, after the allowance; the next client is served."""
    async with listen(echo) as port:
        stream = await upgraded(port)
        async with stream:
            for _ in range(4):
                await stream.send(PING * (int(CONTROLS_BURST) // 3))
            with anyio.fail_after(30):
                try:
                    while True:
                        await stream.send(PING)
                        with anyio.move_on_after(0.02):
                            if bytes([CLOSE]) in await stream.receive():
                                break
                except (anyio.BrokenResourceError, anyio.EndOfStream):
                    pass  # the close frame may be lost where the server has hung up already
        async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/")) as socket:
            await socket.send("hello")
            assert await socket.receive() == "hello"


@pytest.mark.real
@pytest.mark.every_backend
async def test_pings_within_the_allowance_are_answered() -> None:
    """As a client sends them after a stall of the network."""
    async with listen(echo) as port:
        stream = await upgraded(port)
        async with stream:
            await stream.send(PING * 100)
            data = b""
            with anyio.fail_after(30):
                while len(data) < 200:
                    data += await stream.receive()
        assert data == b"\x8a\x00" * 100


SMALL = b"\x81\x81\0\0\0\0x"
"""A message of one letter, with a mask of zeros."""


@pytest.mark.real
@pytest.mark.every_backend
@pytest.mark.parametrize("secure", [False, True])
async def test_one_read_takes_little_of_the_event_loop(secure: bool) -> None:
    """Thousands of small messages that came at once are parsed in pieces, and the loop passes between them."""
    passes = 0
    received: list[int] = []  # in which pass each message came

    async def count() -> None:
        nonlocal passes
        while True:
            await anyio.lowlevel.checkpoint()
            passes += 1

    async def take(socket: Socket, request: Any) -> None:
        while True:
            await socket.receive()
            received.append(passes)

    server, client = contexts() if secure else (None, None)
    options: dict[str, Any] = {"ssl": server} if secure else {}
    async with listen(take, max_queue=None, **options) as port, anyio.create_task_group() as group:
        stream = await upgraded(port, client)
        async with stream:
            group.start_soon(count)
            await stream.send(SMALL * 9_000)
            with anyio.fail_after(30):
                while len(received) < 9_000:  # noqa: ASYNC110
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()
    most = max(Counter(received).values(), default=0)
    assert most <= 4 * READ_BYTES // len(SMALL), "a pass of the loop takes a piece of what was read, and not all of it"


@pytest.mark.real
@pytest.mark.every_backend
async def test_what_is_read_in_pieces_is_whole() -> None:
    """A message that is longer than many pieces, and those behind it, come as they were sent, also when read slowly."""
    sent = ["a" * 300_000, *(str(number) for number in range(500)), "b" * 100_000]
    got: list[str | bytes] = []
    done = anyio.Event()

    async def slowly(socket: Socket, request: Any) -> None:
        while len(got) < len(sent):
            got.append(await socket.receive())
            if len(got) % 50 == 0:
                await anyio.sleep(0.01)
        done.set()

    async with listen(slowly) as port, dial(Endpoint(url=f"ws://127.0.0.1:{port}/")) as socket:
        for text in sent:
            await socket.send(text)
        with anyio.fail_after(30):
            await done.wait()
    assert got == sent


@pytest.mark.real
@pytest.mark.every_backend
async def test_websockets_has_the_parts_it_needs() -> None:
    """The class is used, and what it reads passes its gate."""
    seen: list[Any] = []

    async def look(socket: Socket, request: Any) -> None:
        seen.append(socket._connection)  # type: ignore[attr-defined]

    async with listen(look) as port:
        async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/")) as socket:
            with pytest.raises(SocketClosedError):
                await socket.receive()
    (connection,) = seen
    assert "FairConnection" in [each.__name__ for each in type(connection).__mro__], CHANGED
    assert hasattr(connection.protocol, "fail"), CHANGED
    if sniffio.current_async_library() == "asyncio":
        assert connection.transport is connection.gate, CHANGED
    else:
        assert connection.stream.receive_some.args == (READ_BYTES,), CHANGED
