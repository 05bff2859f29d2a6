"""Agents on WebSockets: turns, sound, interrupts and parameters; in pipes on virtual time, and on loopback."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    End,
    Hold,
    Interrupt,
    Outlet,
    Pipeline,
    Processor,
    ResponseEnded,
    Text,
    Transcript,
    UserText,
)
from bargein.processors import TurnLatency
from bargein.services.sockets import pipe
from bargein.services.transports import (
    ConnectionRequest,
    Sessions,
    Transport,
    WebSocketClient,
    serve_websocket,
    serve_websocket_peer,
)
from bargein.services.transports.control import Start
from tests.services.transports.kit import Brain, agent, connected, rest, until

from .server_kit import BOTH, SECOND, ask, brief, heard, run


@pytest.mark.virtual
async def test_a_turn() -> None:
    """A question is answered in words and sound, at the pace of speech; captions run with the voice."""
    sessions = Sessions(agent)
    async with connected(sessions) as client:
        assert client.ready.session in sessions.live
        began = anyio.current_time()
        await client.send(UserText(text="Once upon a time."))
        frames = await until(client, ResponseEnded)
        assert 1.9 < anyio.current_time() - began < 2.1
        assert heard(frames) == 2000
        assert [frame.response_id for frame in frames if isinstance(frame, TurnLatency)] == ["r1"]
        captions = [frame.text for frame in frames if isinstance(frame, Transcript)]
        assert captions[0] == "Once"
        assert [frame.text for frame in frames if isinstance(frame, Text)] == ["Once upon a time."]
    assert sessions.statistics().failed == 0


@pytest.mark.virtual
async def test_the_users_sound_comes_in_with_its_time() -> None:
    """As it was sent, and live."""
    brains: list[Brain] = []

    def build(transport: Transport) -> Pipeline:
        brains.append(Brain())
        return Pipeline(transport.source, brains[0], transport.sink)

    async with connected(Sessions(build)) as client:
        began = anyio.current_time()
        await client.speak(SECOND.samples, SECOND.rate)
        assert anyio.current_time() - began == pytest.approx(1)
        await anyio.sleep(0.1)
    assert np.array_equal(np.concatenate([frame.samples for frame in brains[0].heard]), SECOND.samples)
    assert [frame.pts // 10**6 for frame in brains[0].heard] == list(range(0, 1000, 20))


@pytest.mark.virtual
async def test_an_interrupt_is_silence_at_once() -> None:
    """The flush comes ahead of all else, and no sound of the old epoch after it."""
    async with connected(Sessions(agent)) as client:
        await client.send(UserText(text="A long story."))
        before = [await anext(client) for _ in range(20)]
        assert {frame.epoch for frame in before if isinstance(frame, Audio)} == {0}
        began = anyio.current_time()
        await client.send(Interrupt(reason="stop"))
        after = await until(client, Interrupt)
        assert anyio.current_time() - began < 0.001
        assert heard(after) <= 40
        await until(client, ResponseEnded)
        await client.send(UserText(text="Another."))
        frames = await until(client, ResponseEnded)
        assert {frame.epoch for frame in frames if isinstance(frame, Audio)} == {1}
        assert heard(frames) == 2000


@pytest.mark.virtual
async def test_a_hold_is_told_ahead_of_what_waits() -> None:
    """No sound follows it until the resume."""

    class Holds(Processor):
        async def process(self, frame: UserText, out: Outlet[Hold | UserText]) -> None:
            await out.send(Hold() if frame.text == "hold" else frame)

    def build(transport: Transport) -> Pipeline:
        return Pipeline(transport.source, Holds(), Brain(), transport.sink)

    async with connected(Sessions(build)) as client:
        await client.send(UserText(text="A story."))
        await until(client, Audio)
        await client.send(UserText(text="hold"))
        await until(client, Hold)
        with anyio.move_on_after(1) as silence:
            await until(client, Audio)
        assert silence.cancelled_caught


@pytest.mark.virtual
async def test_the_agents_sound_comes_at_the_rate_that_was_asked_for() -> None:
    """All of it."""
    async with connected(Sessions(agent), Start(output_rate=24_000)) as client:
        assert client.ready.rate == 24_000
        await client.send(UserText(text="Hello."))
        frames = await until(client, ResponseEnded)
        assert {frame.rate for frame in frames if isinstance(frame, Audio)} == {24_000}
        assert heard(frames) == pytest.approx(2000, abs=3)


@pytest.mark.virtual
async def test_params_and_addresses_reach_the_builder() -> None:
    """Those of `start` before those of the address; a token does not."""
    peers = []

    def build(transport: Transport) -> Pipeline:
        peers.append(transport.peer)
        return agent(transport)

    start = Start(token="secret", params={"brain": "openai"})
    async with connected(Sessions(build), start, address="here", params={"brain": "none", "room": "1"}):
        pass
    (peer,) = peers
    assert (peer.address, peer.params) == ("here", {"brain": "openai", "room": "1"})
    assert "secret" not in repr(peer)


@pytest.mark.virtual
async def test_two_agents_talk() -> None:
    """A client is a transport: its source gives the one agent's sound to the other, and its sink the other's."""
    heard: list[Audio] = []

    class Ear(Processor):
        def process(self, frame: Audio) -> None:
            heard.append(frame)

    class Mouth(Processor):
        async def run(self, out: Outlet[UserText]) -> None:
            await out.send(UserText(text="Good morning."))
            await anyio.sleep(3)

    brains: list[Brain] = []

    def build(transport: Transport) -> Pipeline:
        brains.append(Brain())
        return Pipeline(transport.source, brains[0], transport.sink)

    async with connected(Sessions(build)) as client:
        await client.send(UserText(text="Hello."))
        async with Pipeline(client.source, Ear(), Mouth(), Brain(), client.sink).session() as session:
            await anyio.sleep(2.5)
            await session.cancel()
    assert sum(frame.ms for frame in heard) == 2000
    assert not any(frame.response_id for frame in heard)
    assert sum(frame.ms for frame in brains[0].heard) == 2000


@pytest.mark.virtual
async def test_an_agent_may_hang_up() -> None:
    """When its graph has ended by itself."""

    class Goodbye(Processor):
        async def run(self, out: Outlet[Text | End]) -> None:
            await out.send(Text(text="Goodbye."))
            await out.send(End())

    def build(transport: Transport) -> Pipeline:
        return Pipeline(transport.source, Goodbye(), transport.sink)

    async with connected(Sessions(build)) as client:
        assert [frame.text for frame in await rest(client) if isinstance(frame, Text)] == ["Goodbye."]
        assert client.ended == "the agent has ended it"


@BOTH
def test_a_conversation_on_a_socket(backend: str) -> None:
    """A real one; and many at once."""

    async def talk() -> None:
        async with serve_websocket(brief) as server:
            assert await ask(f"{server.url}/?room=1") == 60
            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(ask, server.url)
            await server.sessions.drain()
            assert server.sessions.statistics().opened == 11
            assert not server.sessions.failures
            assert repr(server) == f"<WebSocketServer {server.url}, 0 open>"

    run(backend, talk)


async def test_any_socket_will_do() -> None:
    """Such as one that somebody else accepted."""
    ours, theirs = pipe()
    async with anyio.create_task_group() as group:
        group.start_soon(serve_websocket_peer, theirs, Sessions(brief), ConnectionRequest(name="page"))
        client = await WebSocketClient.begin(ours)
        assert client.ready.session == "page"
        await ours.close()


@pytest.mark.virtual
async def test_an_agent_may_be_silent() -> None:
    """One that writes only is no mistake."""

    class Clerk(Processor):
        async def process(self, frame: Audio | UserText, out: Outlet[Text]) -> None:
            if isinstance(frame, UserText):
                await out.send(Text(text=frame.text.upper()))

    async with connected(Sessions(lambda peer: Pipeline(peer.source, Clerk(), peer.sink))) as client:
        await client.send(UserText(text="hello"))
        (text,) = await until(client, Text)
        assert text == Text(text="HELLO")
