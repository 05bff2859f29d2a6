"""A request of HTTP/2 that flows both ways, against h2's server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from bargein.services.providers.nova._http2 import MAX_UNSENT_BYTES, WINDOW, Http2Exchange, exchange
from bargein.services.sockets import SocketClosedError

from .server import Handler, Server, in_memory

pytestmark = pytest.mark.virtual

URL = "https://example.invalid/model/a%3A0/talk?x=1"


@asynccontextmanager
async def talking(handler: Handler) -> AsyncIterator[Http2Exchange]:
    with anyio.fail_after(60):
        async with in_memory(handler) as stream:
            async with exchange(stream, URL, {"host": "example.invalid", "x-who": "me"}) as talk:
                yield talk


async def all_of(talk: Http2Exchange) -> bytes:
    data = b""
    while more := await talk.receive():
        data += more
    return data


async def test_request_and_response() -> None:
    """Headers, body and end arrive in both directions."""

    async def serve(server: Server) -> None:
        assert await server.requested() == {
            ":method": "POST",
            ":scheme": "https",
            ":authority": "example.invalid",
            ":path": "/model/a%3A0/talk?x=1",
            "x-who": "me",
        }
        await server.answer(200, x_id="7")
        assert await server.take(5) == b"hello"
        await server.say(b"hi")
        await server.until(lambda: server.ended)
        await server.end()

    async with talking(serve) as talk:
        assert await talk.answered() == 200
        assert talk.headers["x-id"] == "7"
        await talk.send(b"hello")
        assert await talk.receive() == b"hi"
        await talk.send(b"", end=True)
        assert await all_of(talk) == b""
        with pytest.raises(SocketClosedError, match="has ended its stream"):
            await talk.send(b"more")


async def test_both_directions_at_once() -> None:
    """Megabytes flow each way in pieces of any size, and neither direction waits for the other."""
    random = Random(7)
    up, down = random.randbytes(3_000_000), random.randbytes(3_000_000)
    came = bytearray()

    async def serve(server: Server) -> None:
        await server.answer()
        async with anyio.create_task_group() as group:
            group.start_soon(server.say, down)
            while len(came) < len(up):
                came.extend(await server.take())
        await server.end()

    async def send(talk: Http2Exchange) -> None:
        at = 0
        while at < len(up):
            size = random.choice((1, 100, 16_384, 70_000))
            await talk.send(up[at : at + size])
            at += size

    async with talking(serve) as talk, anyio.create_task_group() as group:
        group.start_soon(send, talk)
        assert await all_of(talk) == down
    assert came == up


async def test_sender_respects_the_window() -> None:
    """A peer that does not read gets no more than its window. When it reads, the rest comes."""
    sent: list[int] = []

    async def serve(server: Server) -> None:
        server.reads = False
        await server.answer()
        await anyio.sleep(10)
        assert len(server.body) == 65_535
        assert sum(sent) <= 65_535
        server.reads = True
        server.make_room()
        await server.flush()
        await server.until(lambda: len(server.body) == 200_000)
        await server.end()

    async with talking(serve) as talk:
        for _ in range(20):
            await talk.send(bytes(10_000))
            sent.append(10_000)
        assert await all_of(talk) == b""


async def test_window_bounds_unread_data() -> None:
    """Data that was not received is bounded by the window. Receiving it makes room for more."""
    said = 0

    async def serve(server: Server) -> None:
        nonlocal said
        await server.answer()
        for _ in range(300):
            await server.say(bytes(10_000))
            said += 10_000
        await server.end()

    async with talking(serve) as talk:
        await talk.answered()
        await anyio.sleep(10)
        assert said <= WINDOW
        assert len(await all_of(talk)) == 3_000_000


async def test_stuck_socket_bounds_waiting_data() -> None:
    """However large the peer's window is, little data waits for the socket."""

    async def serve(server: Server) -> None:
        await server.requested()

    async with in_memory(serve) as stream:
        stuck = anyio.Event()

        class Stuck:
            async def send(self, data: bytes) -> None:
                await stuck.wait()

            async def receive(self) -> bytes:
                return bytes(await stream.receive())

        async with exchange(Stuck(), URL, {}) as talk:  # type: ignore[arg-type]
            talk._h2.remote_settings[4] = 2**30
            with anyio.move_on_after(5) as scope:
                for _ in range(1000):
                    await talk.send(bytes(10_000))
            assert scope.cancelled_caught
            assert len(talk._unsent) <= MAX_UNSENT_BYTES + 20_000


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("reset", "the server broke the stream off: INTERNAL_ERROR"),
        ("unknown code", "the server broke the stream off: error 4711"),
        ("goaway", r"the server goes away: NO_ERROR \(see you\)"),
        ("calm", "the server goes away: ENHANCE_YOUR_CALM"),
        ("hang up", "the connection is lost"),
        ("nonsense", "does not speak HTTP/2 as it should"),
        ("settings", "does not speak HTTP/2 as it should"),
    ],
)
async def test_ways_a_connection_breaks(fault: str, says: str) -> None:
    """Data that came before is received. Then receiver and sender get the reason."""

    async def serve(server: Server) -> None:
        await server.answer()
        await server.say(b"the last words")
        await anyio.sleep(1)
        match fault:
            case "reset":
                await server.reset(2)
            case "unknown code":
                await server.raw(bytes((0, 0, 4, 3, 0, 0, 0, 0, 1)) + (4711).to_bytes(4, "big"))
            case "goaway":
                await server.go_away(0, b"see you")
            case "calm":
                await server.go_away(11)
            case "hang up":
                await server.hang_up()
            case "nonsense":
                await server.raw(bytes((0, 0, 1, 0, 0, 0, 0, 0, 0, 65)))  # data of no stream
            case "settings":
                await server.raw(bytes((0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5)) + (1).to_bytes(4, "big"))
        await anyio.sleep_forever()

    async with talking(serve) as talk:
        await anyio.sleep(5)
        assert await talk.receive() == b"the last words"
        with pytest.raises(SocketClosedError, match=says):
            await talk.receive()
        with pytest.raises(SocketClosedError, match=says):
            await talk.send(b"hello?")


async def test_random_frames() -> None:
    """Frames of any kind with any content, and bytes that are not frames, end in the one expected error."""
    for seed in range(150):
        random = Random(seed)

        def frame(random: Random = random) -> bytes:
            size = random.randint(0, 40)
            head = bytes((random.randint(0, 11), random.randint(0, 255), 0, 0, 0, random.choice((0, 1, 1, 2, 3))))
            return size.to_bytes(3, "big") + head + random.randbytes(size)

        async def serve(server: Server, random: Random = random, frame: Callable[[], bytes] = frame) -> None:
            await server.answer()
            for _ in range(random.randint(1, 5)):
                await server.raw(frame() if random.random() < 0.7 else random.randbytes(random.randint(1, 60)))
            await anyio.sleep(0.01)
            await server.hang_up()

        async with talking(serve) as talk:
            try:
                await all_of(talk)
            except SocketClosedError:
                pass
            except BaseException as error:
                error.add_note(f"with seed {seed}")
                raise


async def test_break_wakes_all_waiters() -> None:
    """A sender without room, a receiver, and a task that waits for the response all get the error."""

    async def serve(server: Server) -> None:
        server.reads = False
        await server.requested()
        await anyio.sleep(1)
        await server.reset(8)

    async with talking(serve) as talk:
        told: list[str] = []

        async def wait(how: str) -> None:
            with pytest.raises(SocketClosedError, match="CANCEL"):
                await (talk.send(bytes(200_000)) if how == "send" else getattr(talk, how)())
            told.append(how)

        async with anyio.create_task_group() as group:
            for how in ("send", "receive", "answered"):
                group.start_soon(wait, how)
        assert sorted(told) == ["answered", "receive", "send"]


async def test_dead_peer_is_detected() -> None:
    """A dead peer is noticed although nothing is sent. An idle peer is not taken for a dead one."""
    deaf = anyio.Event()

    async def serve(server: Server) -> None:
        await server.answer()
        await deaf.wait()
        server.deaf = True
        await anyio.sleep_forever()

    with anyio.fail_after(600):
        async with in_memory(serve) as stream, exchange(stream, URL, {}) as talk:
            await talk.answered()
            with anyio.move_on_after(300):
                await talk.receive()
            deaf.set()
            with pytest.raises(SocketClosedError, match="has not answered for 20 s"):
                await talk.receive()


async def test_reset_after_complete_response() -> None:
    """A reset after a complete response means that the rest of the request is not wanted. The response is whole."""

    async def serve(server: Server) -> None:
        await server.answer(403)
        await server.say(b"no")
        await server.end()
        await server.reset(0)

    async with talking(serve) as talk:
        assert await talk.answered() == 403
        assert await all_of(talk) == b"no"


async def test_pings_and_empty_data() -> None:
    """Pings are answered. Empty data and padding count in the windows."""

    async def serve(server: Server) -> None:
        await server.answer()
        server.h2.ping(b"12345678")
        for _ in range(10_000):
            server.h2.send_data(1, b"", pad_length=200)
            if server.h2.local_flow_control_window(1) < 1000:
                await server.flush()
                await server.until(lambda: server.h2.local_flow_control_window(1) > 1000)
        await server.say(b"done")
        await server.end()

    async with talking(serve) as talk:
        assert await all_of(talk) == b"done"


async def test_last_message_after_cancellation() -> None:
    """The tasks that carry the bytes end with the block, and not with the cancellation of its owner."""
    farewell = b""

    async def serve(server: Server) -> None:
        nonlocal farewell
        await server.until(lambda: server.ended)
        farewell = bytes(server.body)

    with anyio.move_on_after(1):
        async with talking(serve) as talk:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await talk.send(b"goodbye", end=True)
                    await anyio.sleep(0.1)
    assert farewell == b"goodbye"


def begun(**headers: str) -> Http2Exchange:
    """A request whose bytes nobody has carried yet."""
    return Http2Exchange(None, URL, headers)  # type: ignore[arg-type]


async def test_settings_come_first() -> None:
    """Settings that are acknowledged before the connection begins are sent at once, and hold for the first stream."""
    request = begun()
    data = bytes(request._unsent).removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    length = int.from_bytes(data[:3], "big")
    assert data[3] == 4, "the first frame is not SETTINGS; look at what _http2.py relies on in h2"
    entries = [data[at : at + 6] for at in range(9, 9 + length, 6)]
    settings = {int.from_bytes(each[:2], "big"): int.from_bytes(each[2:], "big") for each in entries}
    assert (settings[2], settings[4]) == (0, WINDOW), "h2 does not send our settings; look at _http2.py"
    assert request._h2.remote_flow_control_window(request._id) == WINDOW, (
        "our settings do not hold for the first stream"
    )


async def test_logs_contain_no_keys(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, neither the session token nor the signature is in a record, in any form."""
    with caplog.at_level(logging.DEBUG):
        request = begun(**{"x-amz-security-token": "TEMPORARYTOKEN", "authorization": "SIGNATURE", "x-other": "plain"})
    assert "plain" in caplog.text
    for secret in (b"TEMPORARYTOKEN", b"SIGNATURE"):
        encoded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(secret)
        assert encoded in request._unsent
        assert secret.decode() not in caplog.text
        assert repr(encoded)[2:-1] not in caplog.text


@pytest.mark.parametrize("status", ["abc", "20", "2000", "², ", "9" * 5_000])
async def test_status_that_is_not_a_number(status: str) -> None:
    """It ends the exchange with a sentence, as every other violation of the protocol does."""

    async def serve(server: Server) -> None:
        await server.answer(status)

    async with talking(serve) as talk:
        with pytest.raises(SocketClosedError, match=r"1002 .*which is not a number of three digits"):
            await talk.answered()
