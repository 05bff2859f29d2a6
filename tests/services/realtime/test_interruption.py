"""Realtime: interrupts from the application and from the server, against a scripted peer."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    Interrupt,
    Outlet,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    Text,
    UserText,
)
from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import Pacer, Spoken
from bargein.services.frames import Connected

from .peer import WORD_MS, Peer
from .session_kit import Settled, sent, session, until_sent

pytestmark = pytest.mark.virtual


async def test_interrupt_truncates_a_finished_response() -> None:
    """The response is over and its audio still plays: only a truncation is sent, at the reported position."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await anyio.sleep(1.23)
        assert peer.replies[0].done
        harness.interrupt()
        await until_sent(peer, "conversation.item.truncate")
        assert sent(peer) == ["conversation.item.create", "response.create", "conversation.item.truncate"]
        (cut,) = peer.of("conversation.item.truncate")
        assert cut["item_id"] == "item-0"
        assert 1200 <= cut["audio_end_ms"] <= 1240
        assert harness.frames.count(Interrupt(epoch=1)) == 1
        await harness.session.cancel()


async def test_unfinished_response_is_cancelled_by_id() -> None:
    """Its late events are dropped."""
    peer = Peer(3, words=(20, 20), pace=0.2)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await anyio.sleep(0.3)
        harness.interrupt()
        came = len(harness.of(Audio))
        await anyio.sleep(5)
        assert [event["response_id"] for event in peer.of("response.cancel")] == ["resp-0"]
        assert len(harness.of(Audio)) <= came + 1, "no more than the fade"
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted"]
        await harness.session.cancel()


async def test_heard_items_are_kept_and_others_deleted() -> None:
    """An item is deleted if nothing of it was played, and left unchanged if all of it was."""
    peer = Settled()
    model = peer.model()
    async with session(model) as harness:
        await harness.send(UserText(text="one"))
        await anyio.sleep(10)
        await harness.send(UserText(text="two"), UserText(text="three"))
        await anyio.sleep(0.5)
        harness.interrupt()
        await anyio.sleep(2)
        assert peer.replies[0].truncated is None
        assert not peer.replies[0].deleted
        assert peer.replies[1].truncated is not None
        first = next(entry for entry in model.history if entry.role == "assistant")
        assert first.remembered == " ".join(peer.replies[0].words)
        await harness.session.cancel()


async def test_cancel_before_the_response_begins() -> None:
    """A cancel that is sent before the response begins applies to that response and not to the next one."""
    peer = Settled()
    gate = anyio.Event()

    async def slow(event: dict[str, Any]) -> bool:
        if event["type"] == "response.create" and not peer.replies:
            await gate.wait()
        return False

    peer.on_event = slow
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await until_sent(peer, "response.create")
        harness.interrupt()
        gate.set()
        await until_sent(peer, "response.cancel")
        assert peer.of("response.cancel")[0]["response_id"] == "resp-0"
        await anyio.sleep(1)
        assert harness.of(ResponseStarted) == []
        await harness.send(UserText(text="again"))
        await harness.next(ResponseEnded)
        assert [frame.response_id for frame in harness.of(ResponseStarted)] == ["resp-1"]
        await harness.session.cancel()


async def test_interruption_by_the_server() -> None:
    """Its speech-started event is one step, however often it comes, and no cancel is sent."""
    peer = Peer(1, words=(20, 20), pace=0.1)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await anyio.sleep(0.7)
        await peer.speech(3)
        await anyio.sleep(3)
        assert harness.session.epoch == 1
        assert peer.of("response.cancel") == []
        assert len(peer.of("conversation.item.truncate")) == 1
        await harness.session.cancel()


async def test_interrupt_response_off() -> None:
    """If `interrupt_response` is off, the server's speech-started event interrupts nothing."""
    peer = Settled()
    model = peer.model(turn_detection={"type": "server_vad", "interrupt_response": False})
    async with session(model) as harness:
        await harness.send(UserText(text="hello"))
        await harness.next(Audio)
        await peer.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")
        await anyio.sleep(1)
        assert harness.of(SpeechStarted)
        assert harness.session.epoch == 0
        await harness.session.cancel()


async def test_text_for_a_separate_voice() -> None:
    """The item is replaced by the words that were heard."""

    class Voice(Processor):
        async def process(self, frame: Text | ResponseEnded, out: Outlet[Text | Audio | ResponseEnded]) -> None:
            await out.send(frame)
            if isinstance(frame, Text) and frame.final:
                for each in framed(tone(ms=4 * WORD_MS), response_id=frame.response_id):
                    await out.send(
                        Audio(
                            samples=each.samples, rate=each.rate, response_id=frame.response_id, item_id=frame.item_id
                        )
                    )

    peer = Settled()

    async def speaks(event: dict[str, Any]) -> bool:
        if event["type"] != "response.create":
            return False
        await peer.send("response.created", response={"id": "r"})
        for word in ("one", " two", " three", " four"):
            await peer.send("response.output_text.delta", response_id="r", item_id="i", delta=word)
        await peer.send("response.output_text.done", response_id="r", item_id="i", text="one two three four")
        await peer.send("response.done", response={"id": "r", "status": "completed"})
        return True

    peer.on_event = speaks
    model = peer.model(output="text")
    async with Harness(model, Voice(), Spoken(), Pacer()) as harness:
        await harness.send(UserText(text="count"))
        await harness.next(Audio)
        await anyio.sleep(1.1)
        harness.interrupt()
        await until_sent(peer, "conversation.item.create", 2)
        assert peer.of("conversation.item.delete")[0]["item_id"] == "i"
        replaced = peer.of("conversation.item.create")[1]["item"]
        assert replaced["role"] == "assistant"
        assert "one two three four".startswith(replaced["content"][0]["text"])
        assert replaced["content"][0]["text"] != "one two three four"
        await harness.session.cancel()


async def test_response_begins_once() -> None:
    """Its begin event may come after its first piece, or twice.

    A response that was interrupted in between stays interrupted.
    """
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        piece = {"response_id": "r", "item_id": "i", "delta": base64.b64encode(bytes(4800)).decode()}
        await peer.send("response.output_audio.delta", **piece)
        await harness.next(ResponseStarted)
        harness.interrupt()
        await peer.send("response.created", response={"id": "r"})
        await peer.send("response.output_audio.delta", **piece)
        await anyio.sleep(0.5)
        assert len(harness.of(ResponseStarted)) == 1
        assert all(frame.epoch != 1 for frame in harness.of(Audio))
        await harness.session.cancel()


async def test_text_without_sound_was_not_heard() -> None:
    """It is deleted at the model and in the history."""
    peer = Settled()
    model = peer.model()
    async with session(model) as harness:
        await harness.next(Connected)
        await peer.send("response.created", response={"id": "r"})
        delta = {"response_id": "r", "item_id": "i", "delta": "The code is 4711."}
        await peer.send("response.output_audio_transcript.delta", **delta)
        await harness.next(Text)
        harness.interrupt()
        await until_sent(peer, "conversation.item.delete")
        assert model.history.remembered == []
        await harness.session.cancel()
