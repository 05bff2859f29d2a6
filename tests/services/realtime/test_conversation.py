"""Realtime: conversations without a graph, against a scripted peer."""

from __future__ import annotations

import json

import anyio
import pytest

from bargein.pipeline import Interrupt, ResponseEnded
from bargein.services.realtime import RealtimeError, UnsupportedError
from bargein.services.sockets import SocketRefusedError

from .session_kit import Settled, until_sent

pytestmark = pytest.mark.virtual


async def test_conversation_without_a_graph() -> None:
    """It is connected when the block begins, yields typed frames, and is interrupted at the position that the caller
    has played."""
    peer = Settled()
    model = peer.model()
    async with model.connect() as conversation:
        assert (conversation.connected, conversation.session_id, conversation.provider) == (True, "sess-1", "OpenAI")
        await conversation.send_audio(bytes(960))
        await conversation.send_image(b"jpeg")
        await conversation.send_text("hello")
        async for event in conversation:
            if isinstance(event, ResponseEnded):
                break
        assert await conversation.interrupt(played_ms=700) == 1
        await until_sent(peer, "conversation.item.truncate")
        assert peer.of("conversation.item.truncate")[0]["audio_end_ms"] == 700
        with pytest.raises(UnsupportedError, match=r"say\(\); use respond"):
            await conversation.say("hello")
        await conversation.update(instructions="new")
        await conversation.commit()
        await conversation.clear()
        await conversation.respond("briefly")
        await until_sent(peer, "session.update", 2)
    assert not model.connected
    assert json.dumps(peer.received)


async def test_conversation_without_a_player() -> None:
    """Received audio counts as heard in real time."""
    peer = Settled()
    async with peer.model().connect() as conversation:
        await conversation.send_text("hello")
        async for event in conversation:
            if isinstance(event, ResponseEnded):
                break
        await anyio.sleep(1)
        await conversation.interrupt()
        await until_sent(peer, "conversation.item.truncate")
        assert peer.of("conversation.item.truncate")[0]["audio_end_ms"] == pytest.approx(1000, abs=60)


@pytest.mark.parametrize(("seconds", "heard"), [(30, "whole"), (1, "part"), (0, "none")])
async def test_server_interruption_without_a_player(seconds: float, heard: str) -> None:
    """An answer of long ago was heard, and one that has just begun was not."""
    peer = Settled()
    model = peer.model()
    async with model.connect() as conversation:
        await conversation.send_text("hello")
        async for event in conversation:
            if isinstance(event, ResponseEnded):
                break
        reply = peer.replies[0]
        await anyio.sleep(seconds)
        await peer.send("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
        async for event in conversation:
            if isinstance(event, Interrupt):
                break
        await anyio.sleep(5)
        (entry,) = [entry for entry in model.history if entry.role == "assistant"]
        if heard == "whole":
            assert entry.remembered == " ".join(reply.words)
            assert (reply.truncated, reply.deleted) == (None, False)
        elif heard == "part":
            assert 0 < len(entry.remembered) < len(" ".join(reply.words))
            assert reply.truncated == pytest.approx(1000, abs=60)
        else:
            assert entry.remembered == ""
            assert reply.deleted


async def test_reports_override_real_time() -> None:
    """A report counts, before an interrupt of the server or soon after it."""
    for late in (False, True):
        peer = Settled()
        async with peer.model().connect() as conversation:
            await conversation.send_text("hello")
            async for event in conversation:
                if isinstance(event, ResponseEnded):
                    break
            reply = peer.replies[0]
            if not late:
                await conversation.played(reply.name, 400, item_id=reply.item)
            await anyio.sleep(10)
            await peer.send("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
            async for event in conversation:
                if isinstance(event, Interrupt):
                    break
            if late:
                await conversation.played(reply.name, 400, item_id=reply.item, done=True)
            await anyio.sleep(5)
            assert reply.truncated == 400


async def test_conversation_that_cannot_connect() -> None:
    """The error is raised by the `async with` statement itself."""
    peer = Settled()
    peer.refuse = [SocketRefusedError("answers 401", 401)]
    with pytest.raises(RealtimeError, match="the key is not accepted"):
        async with peer.model().connect():
            raise AssertionError("it began")
