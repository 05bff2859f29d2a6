"""A client that floods a server: its pings end its connection, and one read takes little of the event loop's time."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import anyio
import pytest
import sniffio

from bargein.services.sockets import Endpoint, Socket, SocketClosedError, dial, listen
from bargein.services.sockets._fair_connection import CONTROLS_BURST, READ_BYTES

PING = b"\x89\x80\0\0\0\0"
"""A ping without content, with a mask of zeros."""
CLOSE = 0x88
"""The first byte of a close frame."""
CHANGED = "websockets has changed: bargein.services.sockets._fair_connection must follow it"


async def echo(socket: Socket, request: Any) -> None:
    """Send back what comes."""
    while True:
        await socket.send(await socket.receive())


async def upgraded(port: int) -> anyio.abc.SocketStream:
    """Open a WebSocket by hand, since clients do not let one send pings without a pause."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
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


@pytest.mark.real
@pytest.mark.every_backend
async def test_websockets_is_as_it_is_relied_on() -> None:
    """The class is used, and on asyncio one read is bounded (uvloop's transports have no such bound)."""
    seen: list[Any] = []

    async def look(socket: Socket, request: Any) -> None:
        seen.append(socket._connection)  # type: ignore[attr-defined]

    async with listen(look) as port:
        async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/")) as socket:
            with pytest.raises(SocketClosedError):
                await socket.receive()
    (connection,) = seen
    assert type(connection).__name__ == "FairConnection", CHANGED
    assert hasattr(connection.protocol, "fail"), CHANGED
    if sniffio.current_async_library() == "asyncio" and type(connection.transport).__module__.startswith("asyncio"):
        assert connection.transport.max_size == READ_BYTES, CHANGED
