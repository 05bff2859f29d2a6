"""What strangers do to a server that must cost it little: in connections, memory, log lines, and the time of others.

Each attack is followed, and where it lasts accompanied, by honest conversations. Its figures are those of a quiet run
in the same test, plus a bound. `BARGEIN_EXTENDED=1` attacks ten times as hard.
"""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import anyio
import pytest

from bargein.pipeline import Outlet, Processor, UserText
from bargein.services.frames import Respond
from bargein.services.sockets import Endpoint, SocketClosedError, dial
from bargein.services.sockets.rate_limiter import CONTROLS_BURST
from tests.environment import amount

from .servers import SERVERS, Target, raw_upgrade

pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = [pytest.mark.real, pytest.mark.timeout(amount(90, 900))]

TIMES = amount(1, 10)
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
PING = b"\x89\x80\0\0\0\0"
CLOSE_FRAME = b"\x88"
LINES = 5
"""Log lines, from warnings on, that an attack may cause."""


def lines(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelno >= logging.WARNING for record in caplog.records)


async def until_closed(stream: anyio.abc.ByteStream) -> bytes:
    """Read to the end of a connection."""
    data = b""
    with suppress(*GONE), anyio.fail_after(30):
        while True:
            data += await stream.receive()
    return data


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127"], ids=["nothing", "half a head"])
async def test_silent_connections_end(server: str, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """By themselves, and others are served meanwhile."""
    async with SERVERS[server]() as target, AsyncExitStack() as stack:
        streams = []
        for _ in range(100 * TIMES):
            streams.append(await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", target.port)))
            if sent:
                await streams[-1].send(sent)
        await target.ask()
        for stream in streams:
            await until_closed(stream)
        await target.ask()
    assert lines(caplog) <= LINES


@pytest.mark.parametrize("server", SERVERS)
async def test_sessions_that_do_not_begin_end(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """A WebSocket without a first message is closed, and others are served meanwhile."""
    async with SERVERS[server]() as target, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(await raw_upgrade(target)) for _ in range(50 * TIMES)]
        await target.ask()
        for stream in streams:
            assert CLOSE_FRAME in await until_closed(stream)
        await target.ask()
    assert lines(caplog) <= LINES


GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 1_000,
    b"GET / HTTP/9.9\r\n\r\n",
    b"HELO there\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://evil.example\r\n\r\n",
)


@pytest.mark.parametrize("server", SERVERS)
async def test_garbage_at_the_door(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """It costs its connection, and not a line of the log each."""
    async with SERVERS[server]() as target:
        for _ in range(5 * TIMES):
            for garbage in GARBAGE:
                with suppress(*GONE):
                    async with await anyio.connect_tcp("127.0.0.1", target.port) as stream:
                        await stream.send(garbage)
                        with anyio.move_on_after(0.01):
                            await stream.receive()
        await target.ask()
    assert lines(caplog) <= LINES
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_flood_of_pings_is_cut_off(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """With the code for a broken rule, which a client reads that does not send on."""
    async with SERVERS[server]() as target:
        async with await raw_upgrade(target) as stream:
            await stream.send(PING * (int(CONTROLS_BURST) + 10))
            assert b"\x03\xf0" in await until_closed(stream), "no close frame with the code 1008"
        async with await raw_upgrade(target) as stream:
            with suppress(*GONE):
                for _ in range(20):
                    await stream.send(PING * 100)
            await until_closed(stream)
        await target.ask()
    assert lines(caplog) <= LINES


async def flood(target: Target, count: int) -> int:
    """Send messages as fast as the server takes them. Return how many it took within the time of two conversations."""
    sent = 0

    async def send() -> None:
        nonlocal sent
        with suppress(SocketClosedError):
            async with dial(Endpoint(url=target.url)) as socket:
                for message in target.opening:
                    await socket.send(message)
                for _ in range(count):
                    await socket.send(target.text)
                    sent += 1
                await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await target.ask()
        await target.ask()
        group.cancel_scope.cancel()
    return sent


async def memory(attack: Callable[[], Awaitable[object]]) -> int:
    """Return how many bytes of memory are held after an attack, and were not before."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    await attack()
    await anyio.sleep(0.2)
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
async def test_a_flood_of_messages_slows_nobody(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """Others are answered while it lasts, and it leaves no more memory behind than an honest conversation."""
    async with SERVERS[server]() as target:
        await target.ask()
        tracemalloc.start()
        try:
            quiet = await memory(target.ask)
            flooded = await memory(lambda: flood(target, 3_000 * TIMES))
        finally:
            tracemalloc.stop()
    assert flooded < max(quiet, 0) + 500_000
    assert lines(caplog) <= LINES


SECRET = "sk-0123456789abcdef"
WORDS = "my card is 4111 1111 1111 1111"


class Failing(Processor):
    """Fails with what no stranger may read."""

    async def process(self, frame: UserText | Respond, out: Outlet[UserText]) -> None:
        raise ConnectionError(f"the provider says: {SECRET} may not do this")


@pytest.mark.parametrize("server", ["page", "websocket", "openai"])
async def test_what_fails_inside_stays_inside(server: str) -> None:
    """A stranger reads a general sentence: no text of a provider, and no place in the code."""
    async with SERVERS[server](Failing) as target, dial(Endpoint(url=target.url)) as socket:
        for message in (*target.opening, target.text):
            await socket.send(message)
        told = ""
        with pytest.raises(SocketClosedError) as closed, anyio.fail_after(30):
            while True:
                told += str(await socket.receive())
        told += str(closed.value)
    assert told
    assert SECRET not in told
    assert "Traceback" not in told
    assert ".py" not in told


class Deaf(Processor):
    """Refuses what is typed."""

    async def process(self, frame: UserText, out: Outlet[UserText]) -> None:
        raise ValueError("this agent does not read")


@pytest.mark.parametrize("server", ["page", "websocket"])
async def test_the_users_words_are_in_no_log(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """At any level, also when the session fails because of them."""
    caplog.set_level(logging.DEBUG)
    async with SERVERS[server](Deaf) as target, dial(Endpoint(url=target.url)) as socket:
        for message in (*target.opening, target.text.replace("Hello.", WORDS)):
            await socket.send(message)
        with pytest.raises(SocketClosedError), anyio.fail_after(30):
            while True:
                await socket.receive()
    assert "this agent does not read" in caplog.text, "the developer reads why"
    assert WORDS not in caplog.text
