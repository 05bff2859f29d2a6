"""Agents on WebSockets: conversations, interruptions, limits and endings; in pipes on virtual time, and on loopback."""

from __future__ import annotations

import json
import math
import random
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import numpy.typing as npt
import pytest

from bargein.pipeline import (
    Audio,
    End,
    Failure,
    Frame,
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
from bargein.pipeline.testing import tone
from bargein.processors import Spoken, TurnLatency
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText, TextToSpeech, Word
from bargein.services.sockets import Endpoint, SocketClosedError, SocketRefusedError, dial, pipe
from bargein.services.transports import (
    ConnectionRequest,
    PeerLeft,
    RefusedError,
    SessionLimits,
    Sessions,
    Transport,
    WebSocketClient,
    accept_websocket,
    connect_websocket,
    control,
    serve_websocket,
    serve_websocket_peer,
)
from bargein.services.transports.control import Start
from bargein.services.transports.websocket._wire import pack
from tests.services.transports.kit import Brain, agent, connected, rest, served, until

SECOND = Audio(samples=tone(200, 1000), rate=16_000)


def heard(frames: list[Frame]) -> float:
    """Milliseconds of sound."""
    return sum(frame.ms for frame in frames if isinstance(frame, Audio))


# In a pipe ------------------------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("show_errors", [False, True])
async def test_what_failed_is_told_to_the_developer_only(show_errors: bool) -> None:
    """Another peer reads a general sentence: the reason may be a provider's text, with a key in it."""

    class Failing(Processor):
        def process(self, frame: UserText) -> Iterator[Failure]:
            yield Failure("provider: the key sk-1 is wrong", processor="provider")

    sessions = Sessions(lambda peer: Pipeline(peer.source, Failing(), peer.sink), show_errors=show_errors)
    async with connected(sessions) as client:
        await client.send(UserText("hello"))
        failure = (await until(client, Failure))[-1]
        assert isinstance(failure, Failure)
        assert ("sk-1" in failure.message) == show_errors
        assert failure.message


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
async def test_a_peer_that_does_not_read_loses_the_oldest_sound_and_then_its_session() -> None:
    """Nothing piles up meanwhile."""
    transports = []

    def build(transport: Any) -> Pipeline:
        transports.append(transport)
        return Pipeline(transport.source, Brain(ms=20_000), transport.sink)

    sessions = Sessions(build, limits=SessionLimits(slow_seconds=6))
    async with served(sessions, capacity=8) as each:
        client = await WebSocketClient.begin(each.socket)
        began = anyio.current_time()
        await client.send(UserText(text="A very long story."))
        await each.over.wait()
        assert 5 < anyio.current_time() - began < 10
        assert each.ending == "left"
        (transport,) = transports
        statistics = transport.statistics()
        assert 100 < statistics.dropped < 400
        assert transport.left.reason == "it did not read a message within 6 s"
        assert len(transport._queue) <= 2  # but for last words


@pytest.mark.virtual
async def test_after_a_pause_of_the_network_the_newest_sound_comes() -> None:
    """Two seconds of it at most; the gap is seen in the sequence."""
    async with served(Sessions(lambda peer: Pipeline(peer.source, Brain(ms=8_000), peer.sink)), capacity=8) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="A story."))
        await until(client, Audio)
        await anyio.sleep(5)
        frames = await until(client, ResponseEnded)
        missing = client._wire.missing  # type: ignore[attr-defined]
        assert 100 < missing < 160
        assert heard(frames) + 20 * (missing + 1) == 8000


@pytest.mark.virtual
async def test_a_lost_connection_ends_the_session() -> None:
    """What was being said is interrupted, and not played to nobody."""
    left: list[PeerLeft] = []

    class Watch(Processor):
        def process(self, frame: PeerLeft) -> None:
            left.append(frame)

    sessions = Sessions(lambda peer: Pipeline(peer.source, Watch(), Brain(ms=60_000), peer.sink))
    async with served(sessions) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="A very long story."))
        await until(client, Audio)
        began = anyio.current_time()
        await each.socket.close(1006)
        await each.over.wait()
        assert anyio.current_time() - began < 0.1
    assert each.ending == "left"
    assert not left[0].clean
    assert left[0].reason == "the connection was closed with 1006"


@pytest.mark.virtual
async def test_a_brain_that_does_not_stop_is_stopped() -> None:
    """Within its time, when the peer is gone."""

    class Stuck(Processor):
        async def process(self, frame: UserText, out: Outlet[Text]) -> None:
            await anyio.sleep(1000)

    sessions = Sessions(lambda peer: Pipeline(peer.source, Stuck(), peer.sink), limits=SessionLimits(leave_seconds=5))
    async with served(sessions) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="Are you there?"))
        await anyio.sleep(1)
        began = anyio.current_time()
        await each.socket.close()
        await each.over.wait()
        assert anyio.current_time() - began < 7
    assert each.ending == "left"
    assert sessions.statistics().failed == 0


@pytest.mark.virtual
async def test_a_failure_is_told_and_harms_nobody() -> None:
    """The peer gets a reason and a code; the next one gets its answer."""
    sessions = Sessions(agent)
    async with connected(sessions) as other:
        async with served(sessions) as each:
            client = await WebSocketClient.begin(each.socket)
            await client.send(UserText(text="die"))
            await rest(client)
            assert client.ended == "the session failed"
        assert each.ending == "failed"
        await other.send(UserText(text="Hello."))
        await until(other, ResponseEnded)
    assert [str(error) for error in sessions.failures] == ["as asked"]


@pytest.mark.virtual
async def test_draining_lets_the_agent_finish() -> None:
    """The agent says goodbye."""
    sessions = Sessions(agent)
    async with connected(sessions) as client, anyio.create_task_group() as group:
        await client.send(UserText(text="A story."))
        frames = await until(client, Audio)
        group.start_soon(sessions.drain)
        frames += await rest(client)
        assert heard(frames) == 2000
        assert client.ended == "the server is going away"


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


# On loopback ----------------------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def brief(transport: Transport) -> Pipeline:
    """An agent of few words."""
    return Pipeline(transport.source, Brain(ms=60), transport.sink)


async def ask(url: str, **options: Any) -> float:
    """How much sound an answer has, in milliseconds."""
    async with connect_websocket(url, **options) as client:
        await client.send(UserText(text="Hello."))
        return heard(await until(client, ResponseEnded))


def run(backend: str, function: Any, *args: Any) -> None:
    async def bounded() -> None:
        with anyio.fail_after(60):
            await function(*args)

    anyio.run(bounded, backend=backend)


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


@BOTH
def test_who_may_come_in(backend: str) -> None:
    """The header or `start` decides. The hook may wait."""

    async def allowed(token: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return token == "open sesame"

    async def talk() -> None:
        async with serve_websocket(brief, authorize=allowed) as server:
            assert await ask(server.url, token="open sesame") == 60
            with pytest.raises(SocketRefusedError, match="401"):
                await ask(server.url, token="barley")
            with pytest.raises(RefusedError, match="token is wrong"):
                await ask(server.url)
            async with dial(Endpoint(url=server.url)) as socket:  # as a browser does
                await WebSocketClient.begin(socket, Start(token="open sesame"))
            await server.sessions.drain()
            assert server.sessions.statistics().opened == 2
        async with serve_websocket(brief, authorize=lambda token: False) as server:
            with pytest.raises(RefusedError):
                await ask(server.url)

    run(backend, talk)


@BOTH
def test_a_hook_that_fails_lets_nobody_in(backend: str) -> None:
    """Other peers are not affected."""

    def allowed(token: str) -> bool:
        if token != "open sesame":
            raise RuntimeError("the list of tokens is lost")
        return True

    async def talk() -> None:
        async with serve_websocket(brief, authorize=allowed) as server:
            with pytest.raises(SocketRefusedError, match="500"):
                await ask(server.url, token="barley")
            with pytest.raises(RefusedError, match="1011"):
                await ask(server.url)
            assert await ask(server.url, token="open sesame") == 60

    run(backend, talk)


@BOTH
def test_a_server_fails_as_itself(backend: str) -> None:
    """Where its port is taken, and with what fails in its block; on each backend the same."""

    async def talk() -> None:
        async with serve_websocket(brief) as server:
            with pytest.raises(OSError, match=r"in use|address"):
                async with serve_websocket(brief, port=server.port):
                    pass
        with pytest.raises(LookupError, match="mine"):
            async with serve_websocket(brief):
                raise LookupError("mine")

    run(backend, talk)


@BOTH
def test_whose_pages_may_connect(backend: str) -> None:
    """Those of the server itself, and those that are named; programs always."""

    async def talk() -> None:
        async with serve_websocket(brief, origins=["https://example.com"]) as server:
            assert await ask(server.url, headers={"Origin": "https://example.com"}) == 60
            assert await ask(server.url, headers={"Origin": f"http://127.0.0.1:{server.port}"}) == 60
            with pytest.raises(SocketRefusedError, match="403"):
                await ask(server.url, headers={"Origin": "https://evil.example"})
            with pytest.raises(SocketRefusedError, match="404"):
                await ask(f"{server.url}/elsewhere")
        async with serve_websocket(brief, origins="*") as server:
            assert await ask(server.url, headers={"Origin": "https://evil.example"}) == 60

    run(backend, talk)


async def test_who_cannot_convert_sound_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer what to do without, and the log what to install."""
    monkeypatch.setitem(sys.modules, "av", None)
    async with served(Sessions(brief)) as each:
        with pytest.raises(RefusedError, match="ask for output_rate 0"):
            await WebSocketClient.begin(each.socket, Start(output_rate=48_000))
    assert "pip install 'bargein[audio]'" in caplog.text
    async with connected(Sessions(brief), Start()) as client:
        assert client.ready.session


@pytest.mark.parametrize("path", ["twilio", "/twilio/", ""])
async def test_a_path_is_as_in_an_address(path: str) -> None:
    """One that nobody could come to is refused."""
    with pytest.raises(ValueError, match="expected a path such as"):
        async with serve_websocket(brief, paths={path: accept_websocket}):
            pass


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


def test_over_tls(tmp_path: Any) -> None:
    """With the contexts of the standard library."""
    certificates = pytest.importorskip("trustme")
    authority = certificates.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def talk() -> None:
        async with serve_websocket(brief, ssl=context) as server:
            assert server.url.startswith("wss://")
            assert await ask(server.url, ssl=trusting) == 60
            with pytest.raises(SocketRefusedError):
                await ask(server.url)

    for backend in ("asyncio", "trio"):
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


WORDS = [f"w{chr(97 + number)}" for number in range(20)]
WORD_MS = 500


class Counting(LanguageModel):
    async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        yield " ".join(WORDS)


class Constant(TextToSpeech):
    """Says each word as samples of one value, by which its sound can be told."""

    rate = 16_000

    async def speak(self, text: str) -> AsyncIterator[Word | npt.NDArray[np.int16]]:
        for number, word in enumerate(text.split()):
            yield Word(text=word, start_ms=WORD_MS * number, end_ms=WORD_MS * (number + 1))
            yield np.full(WORD_MS * 16, 1000 + 100 * number, np.int16)


@pytest.mark.virtual
async def test_what_was_dropped_for_a_peer_that_does_not_read_was_not_heard() -> None:
    """Its words are not remembered, but those before and after it are."""
    brain = Cascade(SpeechToText(), Counting(), Constant())
    came: dict[int, float] = {}
    async with served(Sessions(lambda peer: Pipeline(peer.source, brain, Spoken(), peer.sink)), capacity=8) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="Hello."))
        began = math.inf
        with anyio.move_on_after(25):
            async for frame in client:
                if not isinstance(frame, Audio):
                    continue
                began = min(began, anyio.current_time())
                number = (int(np.median(frame.samples)) - 1000) // 100
                came[number] = came.get(number, 0) + frame.ms
                if began + 1 < anyio.current_time() < began + 2:
                    await anyio.sleep(7)  # the network stalls
    arrived = {WORDS[number] for number, ms in came.items() if ms > WORD_MS / 2}
    assert len(arrived) < len(WORDS)
    (said,) = [entry for entry in brain.history if entry.role == "assistant"]
    assert len(set(said.remembered.split()) ^ arrived) <= 1, "but for the word that was cut"


@pytest.mark.real
@pytest.mark.parametrize("header", ["Host", "Origin", "Authorization"])
async def test_a_header_that_decides_must_not_come_twice(header: str) -> None:
    """It is refused with a sentence, as the others are, and the server does not fail."""
    async with (
        serve_websocket(agent, authorize=lambda token: True) as server,
        await anyio.connect_tcp("127.0.0.1", server.port) as stream,
    ):
        lines = [
            "GET / HTTP/1.1",
            *([] if header == "Host" else [f"Host: 127.0.0.1:{server.port}"]),
            *[f"{header}: 127.0.0.1:{server.port}"] * 2,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        await stream.send("\r\n".join([*lines, "", ""]).encode())
        answer = (await stream.receive()).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert f"more than one {header.lower()}" in answer


@pytest.mark.real
async def test_a_burst_of_connections_finds_room() -> None:
    """They wait while the loop is busy, and none has to try again, which takes a second or more."""
    async with serve_websocket(agent) as server:
        with ExitStack() as stack:  # without a checkpoint, so that nothing is accepted meanwhile
            for _ in range(300):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=0.5))


@pytest.mark.virtual
async def test_a_flood_of_texts_is_read_evenly() -> None:
    """Ten at once, then forty a second, so that the other calls keep their time; none of them is lost."""
    brain = Brain(ms=20)
    at: list[float] = []

    class Watch(Processor):
        def process(self, frame: UserText) -> Iterator[UserText]:
            at.append(anyio.current_time())
            yield frame

    def build(peer: Transport) -> Pipeline:
        return Pipeline(peer.source, Watch(), brain, Spoken(), peer.sink)

    async with connected(Sessions(build)) as client:
        began = anyio.current_time()
        for number in range(50):
            await client.send(UserText(f"{number}"))
        await anyio.sleep(5)
    assert len(at) == 50
    assert sum(each <= began + 0.01 for each in at) <= 11
    assert at[-1] - began == pytest.approx(1.0, abs=0.1)
