"""Realtime: lost, silent, stuck and limited connections, against a scripted peer."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Outlet, Processor, ResponseEnded, ResponseStarted, Transcript, UserText
from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import Pacer
from bargein.services.frames import Connected, Disconnected
from bargein.services.realtime import RealtimeError, ReconnectPolicy
from bargein.services.sockets import SocketRefusedError

from .session_kit import Settled, session

pytestmark = pytest.mark.virtual


async def test_lost_connection_is_restored() -> None:
    """Settings, the conversation as it was heard, and the sound of the gap are sent."""
    peer = Settled()
    async with session(peer.model(instructions="Be brief.")) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded)
        await anyio.sleep(5)
        peer.refuse.append(SocketRefusedError("not now"))
        peer.received.clear()
        await peer.close()
        await anyio.sleep(0.1)
        await harness.send(*framed(tone(ms=100, rate=24_000), rate=24_000))
        await harness.next(Disconnected)
        connected = await harness.next(Connected, within_seconds=30)
        await anyio.sleep(0.1)
        assert connected.reconnected
        assert connected.session_id == "sess-2"
        assert peer.received[0]["session"]["instructions"] == "Be brief."
        said = [event["item"]["content"][0] for event in peer.of("conversation.item.create")]
        assert [part["type"] for part in said] == ["input_text", "output_text"]
        assert said[1]["text"] == " ".join(peer.replies[0].words)
        assert sum(len(base64.b64decode(event["audio"])) for event in peer.of("input_audio_buffer.append")) == 4800
        await harness.session.cancel()


async def test_sound_of_a_gap_is_bounded() -> None:
    """The oldest is dropped and counted."""
    peer = Settled()
    peer.refuse = [SocketRefusedError("not now")] * 3
    model = peer.model(reconnect=ReconnectPolicy(gap_seconds=1, jitter=0))
    async with session(model) as harness:
        await harness.send(*framed(tone(ms=5000, rate=24_000), rate=24_000))
        await harness.next(Connected, within_seconds=30)
        await anyio.sleep(0.1)
        assert len(peer.of("input_audio_buffer.append")) == 50
        assert model.dropped_ms == 4000
        await harness.session.cancel()


async def test_sound_for_a_stuck_socket_is_bounded() -> None:
    """It neither blocks the microphone nor fills the memory."""
    peer = Settled()

    async def stuck(event: dict[str, Any]) -> bool:
        if event["type"] == "input_audio_buffer.append":
            await anyio.sleep_forever()
        return False

    peer.on_event = stuck
    model = peer.model(reconnect=ReconnectPolicy(gap_seconds=1))
    async with session(model) as harness:
        await harness.next(Connected)
        for frame in framed(tone(ms=10_000, rate=24_000), rate=24_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert 6000 <= model.dropped_ms <= 9000
        await harness.session.cancel()


async def test_provider_that_does_not_read_is_left() -> None:
    """The next connection gets what this one was not sent, as part of the conversation."""
    peer = Settled()

    async def stuck(event: dict[str, Any]) -> bool:
        if event["type"] == "conversation.item.create" and peer.connections == 1:
            await anyio.sleep_forever()
        return False

    peer.on_event = stuck
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        for number in range(5_000):
            await harness.send(UserText(text=f"{number}"))
        lost = await harness.next(Disconnected, within_seconds=10)
        assert "messages waited for it, and it did not read them" in lost.reason
        assert not lost.final
        await harness.next(Connected, within_seconds=10)
        await anyio.sleep(1)
        assert "4999" in {event["item"]["content"][0]["text"] for event in peer.of("conversation.item.create")}
        await harness.session.cancel()


async def test_graph_that_takes_nothing_ends_the_session() -> None:
    """What the provider sends does not pile up without a bound."""
    peer = Settled()

    class Stuck(Processor):
        async def process(self, frame: Transcript, out: Outlet[Transcript]) -> None:
            await anyio.sleep_forever()

    with pytest.raises(RealtimeError, match="frames wait for the graph below, which takes none"):
        async with Harness(peer.model(), Stuck()) as harness:
            await harness.next(Connected)
            for number in range(21_000):
                await peer.send(
                    "conversation.item.input_audio_transcription.completed", item_id=f"i{number}", transcript="Well."
                )
            await anyio.sleep(10)


@pytest.mark.parametrize(
    ("refusal", "attempts", "says"),
    [
        (SocketRefusedError("answers 401", 401, '{"error": "bad key"}'), 1, "the key is not accepted.*bad key"),
        (SocketRefusedError("answers 404", 404), 1, "no such model"),
        (SocketRefusedError("cannot be reached"), 4, "given up after 4 attempts"),
    ],
)
async def test_reconnecting_stops(refusal: SocketRefusedError, attempts: int, says: str) -> None:
    """It stops at once if retrying is useless, otherwise after the attempts of the policy."""
    peer = Settled()
    peer.refuse = [refusal] * 10
    with pytest.raises(RealtimeError, match=says):
        async with session(peer.model(reconnect=ReconnectPolicy(max_attempts=3))):
            await anyio.sleep(60)
    assert 10 - len(peer.refuse) == attempts


async def test_fatal_error_ends_the_session() -> None:
    """The exception has the provider's words."""
    peer = Settled()
    with pytest.raises(RealtimeError, match="You have no money"):
        async with session(peer.model()) as harness:
            await harness.next(Connected)
            await peer.send("error", error={"code": "insufficient_quota", "message": "You have no money"})
            await anyio.sleep(1)
            await harness.end()
    assert peer.connections == 1


async def test_silent_provider_is_dead() -> None:
    """While an answer is due, and not while nothing was asked."""
    peer = Settled()

    async def silent(event: dict[str, Any]) -> bool:
        return event["type"] == "response.create" and peer.connections == 1

    peer.on_event = silent
    async with session(peer.model()) as harness:
        await anyio.sleep(300)
        assert peer.connections == 1
        await harness.send(UserText(text="hello?"))
        await harness.next(ResponseStarted, within_seconds=60)
        assert peer.connections == 2
        await harness.session.cancel()


async def test_session_is_replaced_before_its_limit() -> None:
    """The session is replaced in a pause, and the conversation continues."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded)
        await anyio.sleep(3600)
        assert peer.connections == 2
        (gone,) = harness.of(Disconnected)
        assert (gone.clean, gone.final) == (True, False)
        await harness.send(UserText(text="still there?"))
        await harness.next(ResponseStarted)
        await harness.session.cancel()


async def test_unreadable_messages() -> None:
    """Malformed, binary and unknown messages are reported or ignored, and the session continues."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        assert peer._socket is not None
        for data in ("{", "[]", '{"type": 3}', b"\x00\x01", '{"type": "response.done"}', '{"type": "brand.new"}'):
            await peer._socket.send(data)
        await peer.send("error", error={"message": "something else was wrong"})
        await harness.send(UserText(text="hello"))
        await harness.next(ResponseEnded)
        assert len(harness.of(Failure)) == 6
        await harness.session.cancel()


async def test_audio_before_its_response_and_cut_inside_a_sample() -> None:
    """Nothing of it is lost."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        sound = np.arange(480, dtype="<i2").tobytes()
        for part in (sound[:101], sound[101:400], sound[400:]):
            delta = base64.b64encode(part).decode()
            await peer.send("response.output_audio.delta", response_id="r", item_id="i", delta=delta)
        await peer.send("response.created", response={"id": "r"})
        await peer.send("response.done", response={"id": "r", "status": "completed"})
        await harness.next(ResponseEnded)
        samples = np.concatenate([frame.samples for frame in harness.of(Audio)])
        assert np.array_equal(samples, np.arange(480))
        await harness.session.cancel()


async def test_waiting_audio_is_bounded_in_seconds() -> None:
    """A reply that nothing plays is stopped, and that is reported."""
    peer = Settled()
    model = peer.model()
    model._buffer_seconds = 5.0
    async with Harness(model, Pacer().options(capacity=2)) as harness:
        await harness.next(Connected)
        await peer.send("response.created", response={"id": "r"})
        for _ in range(40):
            delta = base64.b64encode(bytes(24_000)).decode()
            await peer.send("response.output_audio.delta", response_id="r", item_id="i", delta=delta)
        await anyio.sleep(0.1)
        assert peer.of("response.cancel")
        ended = await harness.next(ResponseEnded, within_seconds=60)
        assert (ended.outcome, "waited to be played" in ended.reason) == ("failed", True)
        await harness.session.cancel()
