"""GeminiLive against a scripted server: interrupts and push to talk."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Audio, ResponseEnded, ResponseStarted, SpeechStarted, Transcript, UserText
from bargein.pipeline.testing import framed, silence, tone
from bargein.processors import Commit
from bargein.services.frames import Connected, Disconnected
from bargein.services.testing import ScriptedGemini

from .session_kit import STORY, VOICE, model, said, session, until

pytestmark = pytest.mark.virtual


async def test_interrupt_drops_the_rest_of_a_reply() -> None:
    """The server cannot be stopped. It goes on, and the next question does not wait for it."""
    peer = ScriptedGemini(STORY, "Yes?", pace_seconds=0.3)
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(2)
        before = len(peer.received)
        harness.interrupt()
        await anyio.sleep(1)
        assert len(peer.received) == before, "there is no word for it"
        assert [turn.interrupted for turn in peer.turns] == [False]
        assert harness.of(ResponseEnded) == [], "it goes on"
        await harness.send(UserText(text="wait"))
        ended = await until(harness)
        assert peer.turns[0].interrupted, "by the next question"
        assert said(harness, ended.response_id) == "Yes?"
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted", "completed"]
        assert harness.session.epoch == 1
        await harness.session.cancel()


async def test_boundaries_belong_to_their_turn() -> None:
    """Interrupted, asked, and interrupted again before the server has sent anything: neither reply is heard."""
    peer = ScriptedGemini(STORY, STORY, "Yes?", pace_seconds=0.3)
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        harness.interrupt()
        await harness.send(UserText(text="another one"))
        await anyio.sleep(0.001)  # it has been asked
        harness.interrupt()
        came = len(harness.of(Audio))
        await anyio.sleep(10)
        assert peer.turns[0].interrupted
        assert len(peer.turns[1].words) > 10, "the second is being told"
        assert len(harness.of(Audio)) <= came + 1, "no more than the fade"
        assert len(harness.of(ResponseStarted)) == 1
        await harness.send(UserText(text="stop"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


async def test_interruption_by_the_server() -> None:
    """It is one step, and the words of both sides are kept as they were heard."""
    peer = ScriptedGemini(STORY, "Yes?", hears=["please stop it"])
    brain = model(peer)
    async with session(brain) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(2)
        await harness.play(list(framed(VOICE, rate=16_000)))
        await until(harness)
        assert harness.session.epoch == 1
        assert peer.turns[0].interrupted
        heard = [frame.text for frame in harness.of(Transcript) if frame.final and frame.speaker == "user"]
        assert heard == ["please stop it"]
        kept = [(entry.role, entry.remembered.strip()) for entry in brain.history.remembered]
        assert kept[0] == ("user", "tell me")
        assert kept[1][0] == "assistant"
        assert STORY.startswith(kept[1][1])
        assert 3 <= len(kept[1][1].split()) <= 8
        assert kept[2:] == [("user", "please stop it"), ("assistant", "Yes?")]
        await harness.session.cancel()


async def test_interruption_before_the_reply() -> None:
    """Nothing is waited for: the next question is asked at once."""
    peer = ScriptedGemini(STORY, "Yes?", pace_seconds=1)
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="tell me"))
        await anyio.sleep(0.5)
        assert peer.session is not None
        await peer.session.interrupt()
        await harness.send(UserText(text="wait"))
        await anyio.sleep(0.1)
        assert len(peer.turns) == 2
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        assert harness.of(Disconnected) == []
        await harness.session.cancel()


async def test_interrupt_response_off() -> None:
    """With `interrupt_response` off, a processor above decides."""
    peer = ScriptedGemini(STORY)
    async with session(model(peer, turn_detection={"type": "server_vad", "interrupt_response": False})) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        for frame in framed(tone(300, 500, rate=16_000), rate=16_000):
            await harness.send(frame)
        await anyio.sleep(1)
        assert harness.session.epoch == 0
        assert not peer.turns[0].interrupted
        await harness.session.cancel()


async def test_typed_text_waits_for_the_end_of_the_reply() -> None:
    """Earlier it would make the server stop its reply."""
    peer = ScriptedGemini("One two three four.", "Five.")
    async with session(model(peer)) as harness:
        await harness.send(UserText(text="count"))
        await harness.next(Audio, within_seconds=30)
        await harness.send(UserText(text="go on"))
        await until(harness)
        await until(harness)
        assert harness.session.epoch == 0
        assert [turn.interrupted for turn in peer.turns] == [False, False]
        await harness.session.cancel()


async def test_push_to_talk() -> None:
    """Sound, a commit, and the answer. Sound that goes on meanwhile does not interrupt it."""
    peer = ScriptedGemini("Certainly.", hears=["may I"])
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(300, 500, rate=16_000), rate=16_000), Commit())
        for frame in framed(silence(3000, rate=16_000), rate=16_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert said(harness, (await until(harness)).response_id) == "Certainly."
        fields = [next(iter(each)) for each in peer.find_sent("realtime_input")]
        assert [each for each in fields if each != "audio"][:2] == ["activityStart", "activityEnd"]
        assert harness.session.epoch == 0
        await harness.session.cancel()


async def test_interrupt_begins_an_activity() -> None:
    """With push to talk an activity begins, and the model stops."""
    peer = ScriptedGemini(STORY, "Yes?", pace_seconds=0.3)
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.send(UserText(text="tell me"))
        await harness.next(Audio, within_seconds=30)
        harness.interrupt()
        await anyio.sleep(0.1)
        assert peer.turns[0].interrupted
        await harness.send(*framed(tone(300, 500, rate=16_000), rate=16_000), Commit())
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


async def test_detector_above_begins_the_activity() -> None:
    """The activity begins behind the sound that came before it."""
    peer = ScriptedGemini("Yes?")
    async with session(model(peer, turn_detection=None)) as harness:
        await harness.next(Connected)
        frames = list(framed(tone(300, 200, rate=16_000), rate=16_000))
        await harness.send(*frames[:2], SpeechStarted(item_id="u"), *frames[2:], Commit())
        await until(harness)
        fields = [next(iter(each)) for each in peer.find_sent("realtime_input")]
        assert fields == ["activityStart", *["audio"] * 10, "activityEnd"]
        assert harness.of(SpeechStarted)
        await harness.session.cancel()


async def test_session_ends_after_the_last_answer() -> None:
    """The server does not report that it has heard a question. Without one, the session ends soon."""
    peer = ScriptedGemini("Certainly.", hears=["may I"], pace_seconds=0.5)
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(300, 1000, rate=16_000), rate=16_000))
        await harness.end()
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["completed"]
        assert said(harness, harness.of(ResponseEnded)[0].response_id) == "Certainly."
    began = anyio.current_time()
    async with session(model(ScriptedGemini())) as harness:
        await harness.next(Connected)
        await harness.send(*framed(silence(1000, rate=16_000), rate=16_000))
        await harness.end()
    assert anyio.current_time() - began < 10
