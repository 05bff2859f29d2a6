"""Realtime: turns, transcripts, requests for responses and who detects turns, against a scripted peer."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bargein.pipeline import ResponseEnded, ResponseStarted, Text, Transcript, UserText
from bargein.pipeline.testing import framed, tone
from bargein.processors import Commit, TurnControl
from bargein.services.frames import Connected, OutOfBand, Respond, Say
from bargein.services.providers.openai.client.realtime import OpenAIRealtime
from bargein.services.sockets import SocketRefusedError

from .peer import Peer
from .session_kit import Settled, sent, session, until_sent

pytestmark = pytest.mark.virtual


async def test_transcripts_belong_to_items() -> None:
    """A late transcript belongs to its own item, and an interrupt does not drop it."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        for item, text in (("u1", "Hel"), ("u2", "By"), ("u1", "lo")):
            await peer.send("conversation.item.input_audio_transcription.delta", item_id=item, delta=text)
        harness.interrupt()
        await peer.send("conversation.item.input_audio_transcription.completed", item_id="u1", transcript="Hello. ")
        await anyio.sleep(0.1)
        assert [(frame.item_id, frame.text, frame.final) for frame in harness.of(Transcript)] == [
            ("u1", "Hel", False),
            ("u2", "By", False),
            ("u1", "Hello", False),
            ("u1", "Hello.", True),
        ]
        await harness.session.cancel()


async def test_push_to_talk() -> None:
    """A commit ends the turn, and asks for the answer."""
    peer = Settled()
    async with session(peer.model(turn_detection=None)) as harness:
        await harness.next(Connected)
        await harness.send(*framed(tone(ms=200, rate=24_000), rate=24_000), Commit())
        await harness.next(ResponseEnded)
        assert sent(peer)[-2:] == ["input_audio_buffer.commit", "response.create"]
        assert len(peer.of("input_audio_buffer.append")) == 10
        assert peer.received[0]["session"]["audio"]["input"]["turn_detection"] is None
        await harness.session.cancel()


async def test_requests_wait_for_the_active_response() -> None:
    """Several become one. A server that is busy is asked again."""
    peer = Peer(0, words=(40, 40), pace=0.1)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="one"))
        await harness.next(ResponseStarted)
        await harness.send(Respond(instructions="a"), Respond(instructions="b"))
        await anyio.sleep(0.05)
        assert len(peer.of("response.create")) == 1
        await harness.next(ResponseEnded, within_seconds=60)
        await harness.next(ResponseEnded, within_seconds=60)
        asked = [event["response"].get("instructions") for event in peer.of("response.create")]
        assert asked == [None, "b"]
        await peer.respond()  # its own idea, at the same moment as ours
        await harness.send(Respond())
        await anyio.sleep(60)
        assert len(peer.replies) == 4
        await harness.session.cancel()


async def test_item_keeps_its_words() -> None:
    """Later events about the item (that it is committed, or another part of it) do not change its words."""
    peer = Settled()
    model = peer.model()
    transcription = "conversation.item.input_audio_transcription"
    async with session(model) as harness:
        await harness.next(Connected)
        await peer.send(f"{transcription}.completed", item_id="u", transcript="My name is Ann.")
        await peer.send("input_audio_buffer.committed", item_id="u")
        await peer.send(f"{transcription}.delta", item_id="u", delta="name")
        await anyio.sleep(0.1)
        assert [entry.text for entry in model.history] == ["My name is Ann."]
        assert [frame.final for frame in harness.of(Transcript)] == [True]
        await harness.session.cancel()


async def test_waiting_input_stays_in_order() -> None:
    """The sound of a push-to-talk turn is sent before its commit."""
    peer = Settled()
    peer.refuse = [SocketRefusedError("not now")]
    async with session(peer.model(turn_detection=None)) as harness:
        await harness.send(*framed(tone(ms=40, rate=24_000), rate=24_000), Commit())
        await until_sent(peer, "response.create")
        append = "input_audio_buffer.append"
        assert sent(peer) == [append, append, "input_audio_buffer.commit", "response.create"]
        await harness.session.cancel()


async def test_unrequested_response_is_not_the_requested_one() -> None:
    """It has neither the protection nor the cancel of the requested one."""
    peer = Peer(0, words=(2, 2), pace=0.0)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="so that it shows whether it repeats metadata"))
        await harness.next(ResponseEnded)

        async def crossing(event: dict[str, Any]) -> bool:
            if event["type"] == "response.create" and len(peer.replies) == 1:
                await peer.respond()
            return False

        peer.on_event = crossing
        await harness.send(Respond(instructions="carefully", protected=True))
        await harness.next(ResponseEnded, within_seconds=30)
        await harness.next(ResponseEnded, within_seconds=30)
        assert [frame.protected for frame in harness.of(ResponseStarted)] == [False, False, True]
        asked = [event["response"].get("instructions") for event in peer.of("response.create")]
        assert asked == [None, "carefully", "carefully"]
        await harness.session.cancel()


async def test_refused_request_does_not_block_the_next() -> None:
    """The refused response will not come, so the next request is sent."""
    peer = Settled()

    async def refuses(event: dict[str, Any]) -> bool:
        if event["type"] != "response.create" or len(peer.of("response.create")) > 1:
            return False
        await anyio.sleep(0.5)
        await peer.send("error", error={"code": "invalid_value", "message": "no", "event_id": event["event_id"]})
        return True

    peer.on_event = refuses
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(Respond(instructions="a"), Respond(instructions="b"))
        await harness.next(ResponseStarted)
        assert [event["response"]["instructions"] for event in peer.of("response.create")] == ["a", "b"]
        await harness.session.cancel()


async def test_failed_out_of_band_request() -> None:
    """A request that is refused, or lost with its connection, is reported as failed."""
    peer = Settled()

    async def answers(event: dict[str, Any]) -> bool:
        asked = event.get("response") or {}
        if asked.get("instructions") == "refused":
            await peer.send("error", error={"message": "I will not", "event_id": event["event_id"]})
            return True
        return asked.get("conversation") == "none"

    peer.on_event = answers
    async with session(peer.model()) as harness:
        await harness.send(Respond(out_of_band="one", instructions="refused"))
        first = await harness.next(OutOfBand)
        assert (first.name, first.text, first.reason) == ("one", "", "I will not")
        await harness.send(Respond(out_of_band="two", instructions="lost"))
        await until_sent(peer, "response.create", 2)
        await peer.close()
        assert (await harness.next(OutOfBand)).name == "two"
        await harness.session.cancel()


@pytest.mark.parametrize("greeting", ["Hello!", Say("Hello!", protected=True), Respond(instructions="Say Hello!")])
async def test_greeting(greeting: str | Say | Respond) -> None:
    """It comes once, before the user has said anything. A conversation that continues is not greeted again."""
    peer = Settled()
    model = peer.model(greeting=greeting)
    async with session(model) as harness:
        await until_sent(peer, "response.create", 1)
        assert "Hello!" in peer.of("response.create")[0]["response"]["instructions"]
        await harness.session.cancel()
    model.history.user("Good morning.")
    async with session(model) as harness:
        await harness.next(Connected)
        await anyio.sleep(1)
        assert len(peer.of("response.create")) == 1
        await harness.session.cancel()


def test_greeting_is_words_or_a_frame() -> None:
    """Anything else is refused by name."""
    with pytest.raises(TypeError, match=r"OpenAIRealtime\(greeting=3\): expected what the agent says first"):
        OpenAIRealtime(api_key="k", greeting=3)  # type: ignore[arg-type]


async def test_out_of_band_answer() -> None:
    """It is text with the name of the question, and not a response of the conversation."""
    peer = Settled()

    async def answers(event: dict[str, Any]) -> bool:
        asked = event.get("response") or {}
        if asked.get("conversation") != "none":
            return False
        await peer.send("response.created", response={"id": "x", "metadata": asked["metadata"]})
        for part in ("an", "gry"):
            await peer.send("response.output_text.delta", response_id="x", item_id="i", delta=part)
        await peer.send("response.done", response={"id": "x", "status": "completed"})
        return True

    peer.on_event = answers
    async with session(peer.model()) as harness:
        await harness.send(Respond(out_of_band="mood", instructions="How does the user feel?"))
        aside = await harness.next(OutOfBand)
        assert (aside.name, aside.text) == ("mood", "angry")
        assert not harness.of(ResponseStarted)
        assert not harness.of(Text)
        await harness.session.cancel()


async def test_turn_control() -> None:
    """Another processor can take over turn detection; then a `Commit` ends a turn. It can be given back."""
    peer = Settled()
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        await harness.send(TurnControl(), Commit(), TurnControl(external=False), Commit())
        await until_sent(peer, "session.update", 3)
        told = [event["session"]["audio"]["input"]["turn_detection"] for event in peer.of("session.update")]
        assert told == [{"type": "server_vad"}, None, {"type": "server_vad"}]
        await anyio.sleep(1)
        assert len(peer.of("input_audio_buffer.commit")) == 1
        await harness.session.cancel()
