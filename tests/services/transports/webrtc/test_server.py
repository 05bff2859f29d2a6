"""WebRtcServer: two peers of aiortc on loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import pairwise

import anyio
import msgspec
import numpy as np
import pytest
from aiortc.sdp import candidate_from_sdp

from bargein.pipeline import (
    Audio,
    Frame,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    UserText,
    Video,
)
from bargein.processors import Resample, Vad, WebRtcVad
from bargein.services.transports import PeerLeft, RefusedError, SessionLimits, Sessions, Transport
from bargein.services.transports.webrtc import SignallingError, WebRtcServer, WebRtcTransport
from bargein.services.transports.webrtc._datagrams import DatagramQueue
from bargein.services.transports.webrtc._fragment import (
    credentials_of,
    encode_fragment,
    parse_fragment,
    replace_credentials,
)
from bargein.services.transports.webrtc._path import Path
from tests.speech import utterances

from .client import Camera, client, until

pytestmark = pytest.mark.real


class Agent(Processor):
    """Answers its first question with some seconds of speech, and falls silent when spoken to."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.heard: list[Frame] = []
        self.speaking = False

    @property
    def left(self) -> tuple[str, bool]:
        """Why the peer has gone, and whether it said goodbye."""
        (left,) = [frame for frame in self.heard if isinstance(frame, PeerLeft)]
        return left.reason, left.clean

    @property
    def pictures(self) -> list[Video]:
        return [frame for frame in self.heard if isinstance(frame, Video)]

    async def process(
        self,
        frame: SpeechStarted | SpeechStopped | UserText | Video | Played | Audio | PeerLeft,
        out: Outlet[SpeechStarted | SpeechStopped | Interrupt | ResponseStarted | Audio | Video | ResponseEnded],
    ) -> None:
        self.heard.append(frame)
        if isinstance(frame, Video):
            await out.send(Video(data=frame.data, format=frame.format, response_id="mirror"))
        if isinstance(frame, SpeechStarted):
            await out.send(frame)
            await out.send(Interrupt(reason="the user spoke"))
        elif isinstance(frame, SpeechStopped):
            await out.send(frame)
        if isinstance(frame, SpeechStopped | UserText) and not self.speaking:
            self.speaking = True
            out.respond(self.answer)

    async def answer(self, reply: Outlet[ResponseStarted | Audio | ResponseEnded]) -> None:
        samples = np.tile(utterances()["long"].samples[4000:], 3)[: round(16_000 * self.seconds)]
        await reply.send(ResponseStarted(response_id="r"))
        for at in range(0, len(samples), 3200):
            await reply.send(Audio(samples=samples[at : at + 3200], rate=16_000, response_id="r"))
        await reply.send(ResponseEnded(response_id="r"))


class Room:
    """A server's sessions, and the agents in them."""

    def __init__(self, **limits: float) -> None:
        self.agents: list[Agent] = []
        self.length = 10.0
        """How long an agent's answer is (seconds)."""
        self.sessions = Sessions(self.build, limits=SessionLimits(**limits))  # type: ignore[arg-type]

    def build(self, peer: Transport) -> Pipeline:
        self.agents.append(agent := Agent(self.length))
        return Pipeline(peer.source, Resample(16_000, channels=1), Vad(WebRtcVad()), agent, peer.sink)


async def test_it_is_asked_and_answers_and_can_be_interrupted() -> None:
    """In speech, heard on the received track, and over within 200 ms of the interrupt; one peer is told how it went."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server, params={"brain": "a"}, address="203.0.113.7")
        peer.microphone.say(utterances()["yes"].samples)
        await until(lambda: peer.loud_since(0))
        assert peer.of("speech")[0]["state"] == "started", "nothing was heard before it was asked"
        await anyio.sleep(0.5)
        peer.microphone.say(utterances()["stop"].samples)
        await until(lambda: bool(peer.of("flush")))
        at = anyio.current_time()
        await until(lambda: any(isinstance(frame, Played) and frame.done for frame in room.agents[0].heard))
        await anyio.sleep(0.35)
        assert peer.loud_ms_since(at) <= 200
        assert len(peer.of("latency")) == 1
        assert peer.of("reaction")[0]["ms"] > 0
        played = [frame for frame in room.agents[0].heard if isinstance(frame, Played)]
        assert played[-1].done
        assert 400 < played[-1].ms < 9000, "a part of it"
        (live,) = room.sessions.live.values()
        assert dict(live.transport.peer.params) == {"brain": "a"}
    assert not room.sessions.failures


async def test_what_is_lost_on_the_way_is_silence_and_what_is_late_is_put_in_order() -> None:
    """The words are understood: speech is noticed, and its end, and nothing has to wait for long."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        peer.disturb()
        peer.microphone.say(utterances()["yes"].samples)
        await until(lambda: peer.loud_since(0))
        (live,) = room.sessions.live.values()
        assert isinstance(live.transport, WebRtcTransport)
        counted = live.transport.statistics()
        assert counted.lost >= 5
        assert (counted.damaged, counted.dropped, counted.wrong) == (0, 0, 0)
        sound = [frame for frame in room.agents[0].heard if isinstance(frame, Audio)]
        assert sound[-1].pts == pytest.approx(sum(frame.duration for frame in sound[:-1]), abs=1e6), "without a gap"
    assert not room.sessions.failures


async def test_a_peer_that_vanishes_is_missed() -> None:
    """When nothing has come of it for so long; the agent is told."""
    room = Room(idle_seconds=0.4)
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        await anyio.sleep(0.6)
        assert room.sessions.live, "silence is not nothing"
        peer.vanish()
        at = anyio.current_time()
        await until(lambda: not room.sessions.live)
        assert anyio.current_time() - at < 20
    assert not room.sessions.failures
    assert room.agents[0].left == ("nothing came of it for 0.4 s", False)


@pytest.mark.parametrize("says_so", [True, False])
async def test_a_peer_that_hangs_up_is_told_from_one_that_is_lost(says_so: bool) -> None:
    """DTLS reports a hang-up. ICE reports a loss, after checks without an answer."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        if says_so:
            await peer.pc.close()
        else:
            _, connection = server._find(peer.name)
            await connection._dtls.transport._connection.close()  # what aioice does after thirty seconds
        await until(lambda: not room.sessions.live)
    said = ("it closed the connection", True) if says_so else ("the connection was lost", False)
    assert room.agents[0].left == said


async def test_a_peer_that_never_comes_is_not_waited_for() -> None:
    """Its offer was answered, and nothing followed."""
    room = Room(open_seconds=0.2)
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await server.offer(await peer.offer())
        await until(lambda: not room.sessions.live)
    assert room.sessions.statistics().failed == 0


async def test_an_ice_restart_keeps_the_session() -> None:
    """The restart comes as an offer or a fragment, while the agent speaks. The old addresses are no longer used."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        peer.send('{"type": "text", "text": "?"}')
        await until(lambda: peer.loud_since(0))
        path = Path(peer.ice, [], 400)
        for fragment in (False, True):
            before = peer.ice._connection
            await path.renew()
            if fragment:
                await peer.pc.setLocalDescription(await peer.pc.createOffer())
                told = await server.patch(peer.name, encode_fragment(peer.pc.localDescription.sdp))
                remote = replace_credentials(peer.pc.remoteDescription.sdp, *credentials_of(told))
                await peer.accept(remote)
                for line, mid in parse_fragment(told).candidates:
                    candidate = candidate_from_sdp(line)
                    candidate.sdpMid = mid
                    await peer.pc.addIceCandidate(candidate)
                await peer.pc.addIceCandidate(None)
            else:
                answer = await server.offer(await peer.offer(), name=peer.name)
                await peer.accept(answer.sdp)
                told = answer.sdp
            await path.switch(*credentials_of(told))
            assert not before._protocols, "its sockets are closed"
            at = anyio.current_time()
            await until(lambda: peer.loud_since(at + 0.1))  # noqa: B023
        peer.send('{"type": "interrupt"}')
        await until(lambda: bool(peer.of("flush")))
        assert len(room.sessions.live) == 1
    assert not room.sessions.failures


async def test_datagrams_that_nobody_reads_are_bounded() -> None:
    """A peer may flood its connection before DTLS has begun, also after an ICE restart."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        ((_, connection),) = server._open.values()
        path = connection._path
        assert path is not None
        assert isinstance(path._now._queue, DatagramQueue)
        await path.renew()
        assert path._next is not None
        assert isinstance(path._next._queue, DatagramQueue)
        await path.abandon()


async def test_media_may_come_later() -> None:
    """A camera that is switched on in the middle is a new offer of the same peer."""
    room = Room()
    async with WebRtcServer(room.sessions, video_fps=5) as server, client() as peer:
        await peer.join(server)
        peer.pc.addTrack(Camera())
        await peer.join(server)
        await until(lambda: len(room.agents[0].pictures) > 3)
        times = [frame.pts / 1e9 for frame in room.agents[0].pictures]
        assert all(0.15 < later - sooner < 0.3 for sooner, later in pairwise(times))
        assert room.agents[0].pictures[0].format == "rgb24"
        assert len(room.sessions.live) == 1
    assert not room.sessions.failures


async def test_a_reader_may_begin_to_speak() -> None:
    """Its first offer had no sound."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client(audio=False) as peer:
        await peer.join(server)
        peer.pc.addTrack(peer.microphone)
        await peer.join(server)
        peer.microphone.say(utterances()["yes"].samples)
        await until(lambda: peer.loud_since(0))
        assert len(room.sessions.live) == 1
    assert not room.sessions.failures


async def test_the_agent_may_show_itself() -> None:
    """Pictures come in both directions at once."""
    room = Room()
    async with WebRtcServer(room.sessions, video_fps=10, show_video=True) as server, client(camera=True) as peer:
        await peer.join(server)
        await until(lambda: len(peer.pictures) > 1)
        assert int(peer.pictures[0].to_ndarray(format="rgb24").mean()) == pytest.approx(60, abs=30)
    assert not room.sessions.failures


async def test_a_camera_that_nobody_wants_is_refused() -> None:
    """It need not be decoded then."""
    async with WebRtcServer(Room().sessions) as server, client(camera=True) as peer:
        answer = await server.offer(await peer.offer())
        assert "a=inactive" in answer.sdp.split("m=video")[1]


async def test_a_peer_may_be_without_sound() -> None:
    """Then it reads; what the agent says is not kept for it."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client(audio=False) as peer:
        await peer.join(server)
        peer.send('{"type": "text", "text": "?"}')
        await until(lambda: len(peer.of("response")) == 2)
        peer.send('{"type": "end"}')
        await until(lambda: bool(peer.of("end")))  # it is sent once the session has ended
    assert room.agents[0].left == ("it said goodbye", True)


async def test_draining_lets_it_finish_what_it_says() -> None:
    """The peer is sent that the session is over, also a peer without sound."""
    room = Room()
    room.length = 0.5
    async with WebRtcServer(room.sessions) as server, client() as peer, client(audio=False) as reader:
        await peer.join(server)
        await reader.join(server)
        peer.send('{"type": "text", "text": "?"}')
        await until(lambda: peer.loud_since(0))
        await room.sessions.drain()
        await until(lambda: bool(peer.of("end") and reader.of("end")))
        (played,) = [frame for frame in room.agents[0].heard if isinstance(frame, Played) and frame.done]
        assert played.ms == 500
    assert not room.sessions.failures


async def test_the_last_words_can_be_interrupted() -> None:
    """Though nothing more is to come."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        peer.send('{"type": "text", "text": "?"}')
        await until(lambda: peer.loud_since(0))
        (live,) = room.sessions.live.values()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(room.sessions.drain)
            await anyio.sleep(0.1)
            live.session.interrupt("enough")
            await until(lambda: not room.sessions.live)
        (played,) = [frame for frame in room.agents[0].heard if isinstance(frame, Played) and frame.done]
        assert played.ms < 9000
    assert not room.sessions.failures


async def test_wrong_messages_are_answered_and_too_many_are_the_end() -> None:
    """With what was wrong."""
    room = Room(max_wrong_messages=3)
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        for garbage in ("", "{", b"\xff\xfe\x00", '{"type": "nonsense"}'):
            peer.send(garbage)
        await until(lambda: not room.sessions.live)
        assert [error["code"] for error in peer.of("error")] == ["wrong_message"] * 4
    assert room.agents[0].left == ("it sent too many wrong messages", False)


async def test_garbage_is_no_offer() -> None:
    """Whatever is wrong with it, one error says so, and nothing stays."""
    room = Room()
    rng = random.Random(7)
    async with WebRtcServer(room.sessions) as server, client() as peer:
        offer = await peer.offer()
        lines = offer.splitlines()
        bad = [
            "",
            "v=0",
            "\0" * 100,
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            offer.replace("opus", "speex"),
            "a" * 3_000_000,
        ]
        for _ in range(100):
            some = [line for line in lines if rng.random() > 0.15]
            some[rng.randrange(len(some))] = rng.choice(
                ["a=mid", "m=", "a=rtpmap:x", "a=fingerprint:", "\ud800", "c=IN"]
            )
            bad.append("\r\n".join(some))
        answered = []
        for sdp in bad:
            with suppress(SignallingError):
                answered.append(await server.offer(sdp))
        assert len(answered) < len(bad) - 20
        for answer in answered:
            await server.delete(answer.name)
        await until(lambda: not room.sessions.live)
        await peer.join(server)
        for fragment in ("", "nonsense", "a=candidate:1", "a=candidate:x y z", "a=ice-ufrag:a\r\na=candidate:é"):
            with pytest.raises(SignallingError):
                await server.patch(peer.name, fragment)
        peer.send('{"type": "text", "text": "?"}')
        await until(lambda: peer.loud_since(0))
    assert not room.sessions.failures


async def test_who_is_gone_is_not_known() -> None:
    """Nor who never was."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        await server.delete(peer.name)
        await until(lambda: not room.sessions.live)
        async with client() as other:
            offer = await other.offer()
        with pytest.raises(LookupError, match="make a new offer"):
            await server.offer(offer, name=peer.name)
        with pytest.raises(LookupError, match="make a new offer"):
            await server.delete("somebody")


@pytest.mark.slow
async def test_twenty_peers_at_once_and_one_too_many() -> None:
    """Each is answered; then all is given back: tasks, threads, sockets."""
    room = Room(max_sessions=20)
    async with client() as peer, WebRtcServer(room.sessions) as server:
        await peer.join(server)
        await server.delete(peer.name)
    await until(lambda: peer.pc.connectionState == "closed")
    before = _held()
    async with WebRtcServer(room.sessions) as server, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(client()) for _ in range(20)]
        async with anyio.create_task_group() as tasks:
            for each in peers:
                tasks.start_soon(each.join, server)
        for each in peers:
            each.send('{"type": "text", "text": "?"}')
        for each in peers:
            await until(partial(each.loud_since, 0))
        async with client() as late:
            with pytest.raises(RefusedError, match="20 sessions"):
                await late.join(server)
        del peers, each
    await until(lambda: _no_more_than(before))
    assert not room.sessions.failures


@pytest.mark.slow
async def test_sessions_leave_nothing_behind() -> None:
    """One after the other, ended by either side."""
    room = Room()
    async with WebRtcServer(room.sessions) as server:
        counts: list[tuple[int, int, int]] = []
        for number in range(6):
            async with client() as peer:
                await peer.join(server)
                if number % 2:
                    await server.delete(peer.name)
            await until(lambda: not room.sessions.live)
            await until(lambda: number < 2 or _no_more_than(counts[1]))  # noqa: B023
            counts.append(_held())
    assert room.sessions.statistics().opened == 6


def _no_more_than(before: tuple[int, int, int]) -> bool:
    """Return whether nothing has grown."""
    return all(now <= then for now, then in zip(_held(), before, strict=True))


def _held() -> tuple[int, int, int]:
    """Tasks, threads and open files."""
    gc.collect()
    threads = [each for each in threading.enumerate() if each.name.endswith("-decoder")]  # and not the loop's own pool
    files = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    return len(asyncio.all_tasks()), len(threads), len(files)


@pytest.mark.parametrize("own_first", [False, True])
async def test_a_data_channel_of_the_page_itself_is_left_alone(own_first: bool) -> None:
    """The agent's messages stay on "bargein", and what is sent on the other channel ends nothing."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client(channel=not own_first) as peer:
        other: list[object] = []
        if own_first:
            peer.pc.createDataChannel("chat").on("message", other.append)
        await peer.join(server)
        if own_first:
            await until(lambda: bool(other))  # it was the only one so far
            other.clear()
            peer.channel = peer.pc.createDataChannel("bargein")
            peer.channel.on("message", lambda data: peer.messages.append(msgspec.json.decode(data)))
            await until(lambda: bool(peer.of("ready")))
        chat = peer.pc.createDataChannel("cursor")
        chat.on("message", other.append)
        await until(lambda: chat.readyState == "open")
        for _ in range(30):
            chat.send('{"x": 1}')
        peer.send('{"type": "text", "text": "hello"}')
        await until(lambda: bool(peer.of("response")))
        assert other == []
        assert room.sessions.statistics().open == 1


async def test_a_peer_may_have_so_many_addresses_and_no_more() -> None:
    """In its offer and its patches together: thousands of them would keep the loop busy, and aim packets at others."""
    room = Room()
    flood = "".join(f"a=candidate:{n} 1 udp 1 10.0.{n // 250}.{n % 250} 5000 typ host\r\n" for n in range(4_000))
    async with WebRtcServer(room.sessions) as server, client() as peer:
        offer = await peer.offer()
        answer = await server.offer(offer.replace("a=end-of-candidates\r\n", flood + "a=end-of-candidates\r\n", 1))
        _, connection = server._find(answer.name)
        ice = connection._dtls.transport
        assert 1 <= len(ice._connection._remote_candidates) <= 32
        fragment = f"a=ice-ufrag:{credentials_of(offer)[0]}\r\na=mid:0\r\n{flood}"
        assert await server.patch(answer.name, fragment) == ""
        assert len(ice._connection._remote_candidates) <= 32
        await server.delete(answer.name)
