"""Agents on WebSockets: peers that say nothing or nonsense, and servers that are full."""

from __future__ import annotations

import json
import random
import socket
from contextlib import ExitStack, suppress

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Pipeline, UserText
from bargein.services.sockets import Endpoint, SocketClosedError, SocketRefusedError, dial
from bargein.services.transports import (
    RefusedError,
    SessionLimits,
    Sessions,
    Transport,
    WebSocketClient,
    connect_websocket,
    control,
    serve_websocket,
)
from bargein.services.transports.control import Start
from bargein.services.transports.websocket._wire import pack
from tests.services.transports.kit import Brain, agent, connected, rest, served

from .server_kit import BOTH, SECOND, ask, brief, heard, run


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b"\1\1\0\0", "not a start"),
        ('{"type": "text", "text": "hi"}', "not a start"),
        ("garbage", "not a message"),
        ('{"type": "start", "rate": 7}', "7 Hz"),
        ('{"type": "start", "output_rate": -5}', "-5 Hz"),
        (None, "10 s"),
    ],
)
async def test_who_does_not_start_gets_no_session(first: str | bytes | None, said: str) -> None:
    """The reason is sent within ten seconds."""
    sessions = Sessions(agent)
    async with served(sessions) as each:
        if first is not None:
            await each.socket.send(first)
        answer = json.loads(await each.socket.receive())
        assert answer["type"] == "error"
        assert said in answer["message"]
        with pytest.raises(SocketClosedError) as closed:
            await each.socket.receive()
        assert closed.value.code == 1008
        await each.over.wait()
    assert sessions.statistics().opened == 0


@pytest.mark.virtual
async def test_wrong_messages_are_answered_until_there_are_too_many() -> None:
    """Then the session ends with a reason and a code."""
    sessions = Sessions(agent, limits=SessionLimits(max_wrong_messages=3))
    async with served(sessions) as each:
        client = await WebSocketClient.begin(each.socket)
        for _ in range(4):
            await each.socket.send(b"garbage")
        frames = await rest(client)
        assert len([frame for frame in frames if isinstance(frame, Failure)]) >= 3
        assert client.ended == "4 of its messages were wrong"
        with pytest.raises(SocketClosedError) as closed:
            await each.socket.receive()
        assert closed.value.code == 1008
    assert each.ending == "left"


@pytest.mark.virtual
async def test_messages_have_a_length() -> None:
    """A longer one ends the session."""
    sessions = Sessions(agent, limits=SessionLimits(max_message_bytes=1000))
    async with connected(sessions) as client:
        await client.send(Audio(samples=np.zeros(500, np.int16), rate=16_000))
        await rest(client)
        assert "longer than 1000 bytes" in client.ended


@pytest.mark.virtual
async def test_who_says_nothing_is_gone_after_a_while() -> None:
    """Whatever it was that kept it open."""
    async with connected(Sessions(agent, limits=SessionLimits(idle_seconds=20))) as client:
        await anyio.sleep(15)
        await client.send(SECOND)
        began = anyio.current_time()
        await rest(client)
        assert client.ended == "nothing came for 20 s"
        assert 17.9 < anyio.current_time() - began < 20.1


@pytest.mark.virtual
async def test_who_is_spoken_to_need_not_say_anything() -> None:
    """However long the story is; and the time begins when it is over."""

    def build(transport: Transport) -> Pipeline:
        return Pipeline(transport.source, Brain(ms=30_000), transport.sink)

    async with connected(Sessions(build, limits=SessionLimits(idle_seconds=10))) as client:
        await client.send(UserText(text="A long story."))
        began = anyio.current_time()
        frames = await rest(client)
        assert heard(frames) == 30_000
        assert client.ended == "nothing came for 10 s"
        assert anyio.current_time() - began == pytest.approx(40, abs=0.5)


@pytest.mark.virtual
async def test_when_it_is_full_the_next_is_told_so() -> None:
    """With a code that says to try again."""
    sessions = Sessions(agent, limits=SessionLimits(max_sessions=1))
    async with connected(sessions):
        async with served(sessions) as each:
            with pytest.raises(RefusedError, match="has 1 sessions"):
                await WebSocketClient.begin(each.socket)
            with pytest.raises(SocketClosedError) as closed:
                await each.socket.receive()
            assert closed.value.code == 1013


@BOTH
def test_a_peer_comes_back_to_a_full_server_and_others_are_refused(backend: str) -> None:
    """Its token is in its first message. So a stranger is refused then, and not at the handshake."""

    async def talk() -> None:
        async with serve_websocket(brief, limits=SessionLimits(max_sessions=1)) as server:
            async with connect_websocket(server.url) as first:
                with pytest.raises(RefusedError, match="1 sessions"):
                    await ask(server.url)
                async with connect_websocket(server.url, resume=first.ready.resume) as second:
                    assert list(server.sessions.live) == [second.ready.session]

    run(backend, talk)


@BOTH
def test_a_full_server_without_tokens_refuses_the_handshake(backend: str) -> None:
    """With 503, before anything is set up."""

    async def talk() -> None:
        limits = SessionLimits(max_sessions=1, resume_seconds=0)
        async with serve_websocket(brief, limits=limits) as server:
            async with connect_websocket(server.url):
                with pytest.raises(SocketRefusedError, match="503"):
                    await ask(server.url)

    run(backend, talk)


@BOTH
def test_who_says_nothing_takes_no_room_for_ever(backend: str) -> None:
    """As many may wait to be heard as may have a session; the next is sent away, until one of them is gone."""

    async def talk() -> None:
        async with serve_websocket(brief, limits=SessionLimits(max_sessions=2)) as server:
            async with dial(Endpoint(url=server.url)), dial(Endpoint(url=server.url)):
                with pytest.raises(RefusedError, match="1013"):
                    await ask(server.url)
            answered = 0.0
            while not answered:  # until the server has seen that they are gone
                with suppress(RefusedError):
                    answered = await ask(server.url)
            assert answered == 60

    run(backend, talk)


@pytest.mark.real
@BOTH
def test_a_hundred_at_once(backend: str) -> None:
    """Each has its answer."""
    answers: list[float] = []

    patient = SessionLimits(open_seconds=60)  # a busy machine takes its time for a hundred handshakes

    async def talk() -> None:
        async with serve_websocket(brief, limits=patient) as server:

            async def one() -> None:
                answers.append(await ask(server.url, limits=patient))

            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(one)
            await server.sessions.drain()
            assert server.sessions.statistics().failed == 0

    run(backend, talk)
    assert answers == [60] * 100


@BOTH
def test_garbage_on_a_socket_harms_nobody_else(backend: str) -> None:
    """Wrong at the start, in the middle, too long, and torn off; the server serves on."""
    chance = random.Random(3)
    good = pack(Audio(samples=np.zeros(160, np.int16), rate=16_000), 0, 0)

    def garbage() -> str | bytes:
        kind = chance.randrange(4)
        if kind == 0:
            return chance.randbytes(chance.randrange(1, 100))
        if kind == 1:
            return bytes(byte ^ (chance.randrange(20) == 0) for byte in good)
        if kind == 2:
            return chance.randbytes(60).decode("latin-1")
        return f'{{"type": "{chance.choice(["text", "start", "dance", "image"])}", "text": 5}}'

    async def spoil(url: str, number: int) -> None:
        try:
            async with dial(Endpoint(url=url)) as socket:
                if number % 3:
                    await socket.send(control.encode_start(Start()))
                for _ in range(chance.randrange(30)):
                    await socket.send(garbage())
                if number % 5 == 0:
                    await socket.send(b"x" * 3_000)
        except SocketClosedError:
            pass

    async def talk() -> None:
        async with serve_websocket(brief, limits=SessionLimits(max_message_bytes=2_000)) as server:
            async with anyio.create_task_group() as group:
                for number in range(60):
                    group.start_soon(spoil, server.url, number)
            assert await ask(server.url) == 60
            await server.sessions.drain()
            assert server.sessions.statistics().failed == 0

    run(backend, talk)


@pytest.mark.real
async def test_a_burst_of_connections_finds_room() -> None:
    """They wait while the loop is busy, and none has to try again, which takes a second or more."""
    async with serve_websocket(agent) as server:
        with ExitStack() as stack:  # without a checkpoint, so that nothing is accepted meanwhile
            for _ in range(300):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=0.5))
