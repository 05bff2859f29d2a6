"""GeminiLive against a scripted server: connections that end, resume and are refused."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bargein.pipeline import Audio, Failure, Interrupt, UserText
from bargein.pipeline.testing import framed, tone
from bargein.processors import Commit
from bargein.services.frames import Configure, Connected, Disconnected
from bargein.services.realtime import RealtimeError, ReconnectPolicy
from bargein.services.sockets import SocketRefusedError
from bargein.services.testing import ScriptedGemini

from .session_kit import STORY, VOICE, model, said, session, until

pytestmark = pytest.mark.virtual


async def test_session_resumes_after_going_away() -> None:
    """In the first pause. The old socket is closed first, and the new one gets nothing that the session knows."""
    peer = ScriptedGemini("One two three four five six.", "Seven.")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="count"))
        await harness.next(Audio, within_seconds=30)
        await peer.go_away(50)
        await anyio.sleep(1)
        assert peer.connections == 1, "it speaks"
        await harness.next(Disconnected, within_seconds=10)
        await harness.send(UserText(text="go on"))
        assert said(harness, (await until(harness)).response_id) == "Seven."
        assert peer.connections == 2
        setups = peer.find_sent("setup", "sessionResumption")
        assert setups[0] == {}
        assert setups[1] == {"handle": "h-2"}
        contents = peer.find_sent("client_content", "turns")
        assert [content[0]["parts"][0]["text"] for content in contents] == ["count", "go on"]
        assert [frame.clean for frame in harness.of(Disconnected)] == [True]
        await harness.session.cancel()


async def test_server_leaves_during_a_reply() -> None:
    """It is left before its time is over. The reply fails, and the conversation continues."""
    peer = ScriptedGemini(" ".join([STORY] * 3), "Yes?")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        await peer.go_away(10)
        await harness.next(Disconnected, within_seconds=11)
        assert peer.connections >= 1
        await harness.send(UserText(text="go on"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


async def test_connection_limit() -> None:
    """In a quiet hour there is a connection for every nine minutes, and one session."""
    peer = ScriptedGemini()
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await anyio.sleep(3600)
        assert 6 <= peer.connections <= 7
        assert all(setup.get("handle") for setup in peer.find_sent("setup", "sessionResumption")[1:])
        assert peer.open_connections == 1
        await harness.session.cancel()


async def test_refused_handle() -> None:
    """A new session begins, with the conversation as it was heard."""
    peer = ScriptedGemini("Hello there.", "Yes?")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="hello"))
        await until(harness)
        await anyio.sleep(3)
        peer.resumes = False
        await peer.close(1011, "internal error")
        await anyio.sleep(3)
        await harness.send(UserText(text="still there?"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        assert peer.connections == 3
        history, question = peer.find_sent("client_content")[1:]
        assert history["turnComplete"] is False
        assert [turn["parts"][0]["text"] for turn in history["turns"]] == ["hello", "Hello there."]
        assert len(question["turns"]) == 1
        await harness.session.cancel()


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011])
async def test_passing_close_codes(code: int) -> None:
    """The connection is restored at once, by the handle."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await anyio.sleep(6)
        await peer.close(code)
        await anyio.sleep(1)
        await harness.send(UserText(text="still there?"))
        await until(harness)
        assert peer.connections == 2
        assert peer.find_sent("setup", "sessionResumption")[1]["handle"]
        await harness.session.cancel()


@pytest.mark.parametrize(("code", "reason"), [(1007, "TEXT is not supported"), (1008, "models/x is not found")])
async def test_final_close_codes(code: int, reason: str) -> None:
    """Before the session is ready they are final: the reason is reported, and there is no other attempt."""

    class Refusing(ScriptedGemini):
        async def serve_socket(self, socket: Any) -> None:
            self.connections += 1
            await socket.receive()
            await socket.close(code, reason)

    peer = Refusing()
    with pytest.raises(RealtimeError, match=reason):
        async with session(model(peer)):
            await anyio.sleep(60)
    assert peer.connections == 1


async def test_endless_errors_are_given_up() -> None:
    """After the attempts of the policy."""

    class Failing(ScriptedGemini):
        async def serve_socket(self, socket: Any) -> None:
            self.connections += 1
            await socket.receive()
            await socket.close(1011, "quota")

    peer = Failing()
    with pytest.raises(RealtimeError, match=r"quota.*given up after 4 attempts"):
        async with session(model(peer, reconnect=ReconnectPolicy(max_attempts=3))):
            await anyio.sleep(600)
    assert peer.connections == 4


async def test_refused_key() -> None:
    """The session ends at once, with the reason."""
    peer = ScriptedGemini()
    peer.refusals.append(SocketRefusedError("wss://x answers 403", 403, "API key not valid"))
    with pytest.raises(RealtimeError, match=r"may not do this.*API key not valid"):
        async with session(model(peer)):
            await anyio.sleep(60)


async def test_unreadable_messages() -> None:
    """Each message that cannot be read is a `Failure`, and the conversation continues."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        for data in (b"\xff\xfe", "{", b"[1]", b'{"serverContent":7}', "", b'{"toolCall":{"functionCalls":[{}]}}'):
            await peer.send(data)
        await peer.send({"newThings": True})
        await harness.send(UserText(text="still there?"))
        await until(harness)
        assert len(harness.of(Failure)) == 6
        assert not any(frame.fatal for frame in harness.of(Failure))
        await harness.session.cancel()


async def test_settings_change_with_a_new_connection() -> None:
    """The new connection is made in a pause. The session stays the same."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="hello"))
        await until(harness)
        await harness.send(Configure(instructions="Be brief.", voice="Puck"))
        await harness.next(Disconnected, within_seconds=10)
        await anyio.sleep(1)
        changed = peer.find_sent("setup")[1]
        assert changed["systemInstruction"]["parts"] == [{"text": "Be brief."}]
        assert changed["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"] == "Puck"
        assert changed["sessionResumption"]["handle"]
        await harness.session.cancel()


async def test_resumed_session() -> None:
    """A later run resumes the session by its handle, and sends only the user's new words."""
    peer = ScriptedGemini("Hello.", "Welcome back.")
    first = model(peer)
    async with session(first) as harness:
        await harness.send(UserText(text="hello"))
        await until(harness)
        await anyio.sleep(1)
        await harness.session.cancel()
    assert first.resumption == "h-2"
    async with session(model(peer, resume=first.resumption)) as harness:
        await harness.send(UserText(text="again"))
        assert said(harness, (await until(harness)).response_id) == "Welcome back."
        assert peer.find_sent("setup", "sessionResumption", "handle") == ["h-2"]
        await harness.session.cancel()


async def test_sound_without_a_connection_is_sent_later() -> None:
    """What the user says while there is no connection reaches the next one, and nothing is interrupted twice."""
    peer = ScriptedGemini("Yes?", hears=["hello"])
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await peer.close(1006)
        await harness.send(*framed(VOICE, rate=16_000))
        await until(harness)
        assert len(peer.find_sent("realtime_input", "audio")) == 100
        assert harness.of(Interrupt) == []
        await harness.session.cancel()


async def test_recent_sound_is_sent_again() -> None:
    """The last seconds are sent to the next connection, unless they have had an effect already."""
    peer = ScriptedGemini("Yes?", hears=["hello"])
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        frames = list(framed(VOICE, rate=16_000))
        for at, frame in enumerate(frames):
            await harness.send(frame)
            await anyio.sleep(0.02)
            if at == 20:
                await peer.close(1006)
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        assert 100 < len(peer.find_sent("realtime_input", "audio")) <= 100 + 21
        assert [turn.words for turn in peer.turns] == [["Yes?"]]
        await anyio.sleep(5)
        before = len(peer.find_sent("realtime_input", "audio"))
        await peer.close(1006)
        await anyio.sleep(5)
        assert peer.connections == 3
        assert len(peer.find_sent("realtime_input", "audio")) - before <= 100, "silence since the answer began"
        assert len(peer.turns) == 1
        await harness.session.cancel()


async def test_commit_outlives_its_connection() -> None:
    """It is sent again with the sound before it, if no answer has begun."""
    peer = ScriptedGemini("Certainly.", hears=["may I"], pace_seconds=2)
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(300, 500, rate=16_000), rate=16_000), Commit())
        await anyio.sleep(1)
        assert peer.find_sent("realtime_input", "activityEnd") == [{}]
        await peer.close(1006)
        assert said(harness, (await until(harness)).response_id) == "Certainly."
        fields = [next(iter(each)) for each in peer.find_sent("realtime_input")]
        assert fields == ["activityStart", *["audio"] * 25, "activityEnd"] * 2
        await harness.session.cancel()
