"""The whole server among strangers: garbage on every endpoint, a hundred at once, and a thousand one after the other.

`BARGEIN_EXTENDED=1` has 100,000 messages and 1,000 sessions, and a fiftieth of it without.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import anyio
import httpx
import numpy as np
import pytest

from bargein.pipeline import Audio, Interrupt, Pipeline, ResponseEnded, UserText
from bargein.processors import Spoken
from bargein.services.server import PageServer, serve_page
from bargein.services.sockets import Endpoint, SocketClosedError, SocketRefusedError, dial
from bargein.services.transports import RefusedError, SessionLimits, Transport, connect_websocket
from bargein.services.transports.control import Start, encode_start
from bargein.services.transports.websocket._wire import pack
from tests.environment import amount
from tests.services.transports.kit import Brain, threads, until

pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = [pytest.mark.timeout(amount(90, 900)), pytest.mark.real]

SHARE = amount(50, 1)
SOUND = pack(Audio(samples=np.zeros(320, np.int16), rate=16_000), 0, 0)
MESSAGES = (
    '{"type": "text", "text": "Hello."}',
    '{"type": "start", "rate": 16000, "channels": 1, "output_rate": 0, "token": "", "params": {"a": "b"}}',
    '{"type": "interrupt", "reason": "stop"}',
    '{"type": "commit"}',
    '{"type": "image", "data": "AAAA", "format": "jpeg", "detail": ""}',
    '{"type": "end", "reason": ""}',
    "[" * 200,
    '{"type": "text", "text": "\\ud800"}',
)
REQUESTS = (
    b"GET /graph.svg?session=webrtc-1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /..%2f..%2fapp.py HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"DELETE /whip/nobody HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
    b"PATCH /whip/nobody HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na=mid:0\r\n",
    b"POST /offer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\xff\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody wants TLS
)
SDP = "\r\n".join(
    (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sctp-port:5000",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}",
        "a=setup:actpass",
        "",
    )
)


@pytest.fixture(autouse=True)
def _nothing_is_raised_in_the_server(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What an application raises, uvicorn only logs."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, Brain(ms=40), Spoken(), peer.sink)


def ws(server: PageServer) -> str:
    return f"ws://127.0.0.1:{server.port}/ws"


def spoiled(chance: random.Random, good: bytes) -> bytes:
    """The same, but for some bytes that are others, missing, or there twice."""
    made = bytearray(good)
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        at = chance.randrange(len(made) + 1)
        manner = chance.randrange(4)
        if manner == 0:
            made[at : at + 1] = chance.randbytes(1)
        elif manner == 1:
            del made[at : at + chance.randrange(8)]
        elif manner == 2:
            made[at:at] = made[at : at + chance.randrange(20)]
        else:
            made[at:at] = chance.choice((b"\r\n", b"\0", b"\xff", b'"', b"9" * 30, b"-1", b"null", b"{"))
    return bytes(made)


def files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def held() -> tuple[int, int, int]:
    """Tasks, open files and threads of our own, once nothing changes any more."""
    before, now = (0, 0, 0), (-1, -1, -1)
    while before != now:
        before = now
        await anyio.sleep(0.5)
        gc.collect()
        now = len(asyncio.all_tasks()), files(), threads()
    return now


async def ask(server: PageServer) -> None:
    """A good conversation."""
    async with connect_websocket(ws(server)) as client:
        await client.send(UserText(text="Hello."))
        await until(client, ResponseEnded)


async def frames(server: PageServer, chance: random.Random, count: int) -> None:
    """Messages of all kinds on sockets, each for as long as it is borne."""
    while count > 0:
        try:
            async with dial(Endpoint(url=ws(server))) as socket:
                await socket.send(
                    encode_start(Start()) if chance.randrange(9) else spoiled(chance, encode_start(Start()).encode())
                )
                for _ in range(min(count, 500)):
                    count -= 1
                    if chance.randrange(3):
                        text = spoiled(chance, chance.choice(MESSAGES).encode()).decode("utf-8", "replace")
                        await socket.send(text)
                    else:
                        await socket.send(spoiled(chance, SOUND))
        except (SocketClosedError, SocketRefusedError):
            count -= 1


async def requests(server: PageServer, chance: random.Random, count: int) -> None:
    """Bytes at the port, half of them hung up on."""
    for _ in range(count):
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream, OSError):
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                await stream.send(spoiled(chance, chance.choice(REQUESTS)))
                if chance.randrange(2):
                    with anyio.move_on_after(0.05):
                        await stream.receive()


async def offers(server: PageServer, chance: random.Random, count: int) -> None:
    """Descriptions to both endpoints of WebRTC; never is it the server's fault."""
    async with httpx.AsyncClient(timeout=30) as client:
        for number in range(count):
            sdp = spoiled(chance, SDP.encode())
            path, kind = (("whip", "application/sdp"), ("offer", "application/json"))[number % 2]
            body = sdp if path == "whip" else spoiled(chance, b'{"sdp": "%s"}' % sdp.replace(b"\r\n", b"\\r\\n"))
            answer = await client.post(f"{server.url}{path}", content=body, headers={"content-type": kind})
            assert answer.status_code in (200, 201, 400, 501, 503), answer.text


def test_garbage_on_every_endpoint() -> None:
    """The server serves on, no session fails for it, all end, and nothing is left of them."""

    async def main() -> None:
        limits = SessionLimits(max_wrong_messages=1_000, max_message_bytes=2_000, open_seconds=1)
        async with serve_page(agent, port=0, limits=limits) as server:
            await ask(server)
            before = await held()
            async with anyio.create_task_group() as group:
                for number in range(4):
                    group.start_soon(frames, server, random.Random(number), 24_000 // SHARE)
                group.start_soon(requests, server, random.Random(5), 3_500 // SHARE)
                group.start_soon(offers, server, random.Random(6), 500 // SHARE)
            await ask(server)
            with anyio.fail_after(30):
                while server.sessions.live:  # noqa: ASYNC110  # no event says so
                    await anyio.sleep(0.1)
            assert server.sessions.statistics().failed == 0
            after = await held()
            assert after == before

    anyio.run(main)


def test_a_hundred_at_once() -> None:
    """Each is answered, and who comes when it is full is told so."""

    async def main() -> None:
        async with serve_page(agent, port=0, limits=SessionLimits(max_sessions=100)) as server:
            there, done = 0, anyio.Event()

            async def one() -> None:
                nonlocal there
                async with connect_websocket(ws(server)) as client:
                    await client.send(UserText(text="Hello."))
                    await until(client, ResponseEnded)
                    there += 1
                    await done.wait()

            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(one)
                while there < 100:  # noqa: ASYNC110
                    await anyio.sleep(0.05)
                with pytest.raises((SocketRefusedError, RefusedError), match=r"100 sessions|as many as it may"):
                    await ask(server)
                done.set()
            assert server.sessions.statistics().opened == 100

    anyio.run(main)


@pytest.mark.slow
def test_sessions_leave_nothing_behind() -> None:
    """Of several manners, one after the other: no task, no file, no memory grows with them."""

    async def visit(server: PageServer, number: int) -> None:
        manner = number % 4
        with suppress(SocketClosedError):
            if manner == 0:
                await ask(server)
            elif manner == 1:
                async with connect_websocket(ws(server)) as client:
                    await client.send(UserText(text="Hello."))
                    await until(client, Audio)
                    await client.send(Interrupt(reason="stop"))
                    await until(client, Interrupt)
            elif manner == 2:  # vanishes
                async with dial(Endpoint(url=ws(server))) as socket:
                    await socket.send(encode_start(Start()))
                    await socket.send(MESSAGES[0])
                    await socket.receive()
            else:  # tears it off in the middle of a frame
                async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                    await stream.send(REQUESTS[5])
                    await stream.receive()

    async def main() -> None:
        async with serve_page(agent, port=0) as server:

            async def some(count: int) -> None:
                for number in range(count):
                    await visit(server, number)
                with anyio.fail_after(30):
                    while server.sessions.live:  # noqa: ASYNC110
                        await anyio.sleep(0.05)

            await some(20)
            before, memory = await held(), tracemalloc.get_traced_memory()[0]
            await some(1_000 // (SHARE // 2 or 1))
            after = await held()
            assert after == before
            assert tracemalloc.get_traced_memory()[0] - memory < 150_000 + 300 * 1_000 // (SHARE // 2 or 1)
            assert server.sessions.statistics().failed == 0

    tracemalloc.start()
    try:
        anyio.run(main)
    finally:
        tracemalloc.stop()
