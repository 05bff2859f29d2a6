"""The scripted server over a real WebSocket, and its wire beside Google's own types."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from bargein.pipeline import Audio, ResponseEnded, Text, ToolCall, UserText, Video
from bargein.pipeline.testing import Harness, framed, tone
from bargein.services.frames import Connected, Disconnected, Respond
from bargein.services.history import History
from bargein.services.providers.gemini import GeminiLive
from bargein.services.sockets import Endpoint, Socket, SocketRefusedError, dial
from bargein.services.testing import ScriptedGemini
from bargein.services.tools import tool


class Noted:
    """A socket, and all that came through it."""

    def __init__(self, socket: Socket, said: list[Any]) -> None:
        self.send, self.close = socket.send, socket.close
        self._socket, self._said = socket, said

    async def receive(self) -> str | bytes:
        data = await self._socket.receive()
        self._said.append(json.loads(data))
        return data


@tool
async def clock(city: str, short: bool | None = None) -> str:
    """The time in a city.

    Args:
        city: Its name.
    """
    return "noon"


async def converse(url: str, peer: ScriptedGemini, **options: Any) -> list[Any]:
    """Ask once, break the connection, and ask again; gives all frames."""
    frames: list[Any] = []
    async with GeminiLive(api_key="key", url=url, tools=[clock], **options).connect() as conversation:
        await conversation.send_text("What time is it?")
        async for frame in conversation:
            frames.append(frame)
            if isinstance(frame, ResponseEnded):
                break
        await peer.close(1011, "internal")
        await conversation.send_audio(bytes(3200))
        await conversation.send_text("Thank you.")
        async for frame in conversation:
            frames.append(frame)
            if isinstance(frame, ResponseEnded):
                break
    return frames


@pytest.mark.real
async def test_over_a_real_socket() -> None:
    """Binary frames, a tool, and a connection that breaks and is taken up again."""
    asks = [ToolCall(call_id="", name="clock", arguments='{"city": "Paris"}')]
    peer = ScriptedGemini(asks, "It is noon.", "You are welcome.", word_ms=5, pace_seconds=0)
    with anyio.fail_after(60):
        async with peer.serve() as url:
            frames = await converse(url, peer)
    ends = [frame for frame in frames if isinstance(frame, ResponseEnded)]
    assert [frame.outcome for frame in ends] == ["completed", "completed"]
    assert "".join(frame.text for frame in frames if isinstance(frame, Text)) == "It is noon.You are welcome."
    assert sum(frame.ms for frame in frames if isinstance(frame, Audio)) == 6 * 5.0
    assert [type(frame) for frame in frames if isinstance(frame, Connected | Disconnected)] == [
        Connected,
        Disconnected,
        Connected,
    ]
    assert peer.find_sent("setup", "sessionResumption", "handle")


@pytest.mark.real
async def test_who_has_no_key_is_refused() -> None:
    """With the reason, and not tried again."""

    async with ScriptedGemini().serve() as url:
        with pytest.raises(SocketRefusedError, match="answers 403") as refused:
            async with dial(Endpoint(url=url)):
                pass
    assert "unregistered callers" in refused.value.body


@pytest.mark.virtual
async def test_the_wire_is_googles() -> None:
    """All that either side sends fits the types of Google's own package, with nothing unknown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        types = pytest.importorskip("google.genai.types")
    asks = [ToolCall(call_id="", name="clock", arguments='{"city": "Paris"}')]
    peer = ScriptedGemini(asks, "It is noon.", "Yes?", hears=["wait"], word_ms=500)
    said: list[Any] = []

    @asynccontextmanager
    async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
        async with peer.connect(endpoint) as socket:
            yield Noted(socket, said)

    history = History()
    history.user("Good morning.")
    history.assistant("Good morning.")
    model = GeminiLive(
        "gemini-3.1-flash-live-preview",
        api_key="key",
        connect=connect,
        tools=[clock],
        background={"clock": "WHEN_IDLE"},
        voice="Puck",
        instructions="Be brief.",
        turn_detection={"type": "server_vad", "silenceDurationMs": 300, "interrupt_response": False},
        extra={"proactivity": {"proactiveAudio": True}},
        history=history,
    )
    async with Harness(model) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="What time is it?"), Respond(instructions="Briefly."))
        await harness.send(Video(data=b"jpeg", format="jpeg"), *framed(tone(300, 100, rate=16_000), rate=16_000))
        await harness.next(ResponseEnded, within_seconds=60)
        assert peer.session is not None
        await peer.session.interrupt()
        await peer.go_away(50)
        await anyio.sleep(5)
        await harness.session.cancel()
    kinds = {key for message in peer.received for key in message}
    assert kinds == {"setup", "client_content", "realtime_input", "tool_response"}
    for message in peer.received:
        if "setup" in message:  # the package sends this, and has it in no type of a message
            unknown(types.RealtimeInputConfig, message["setup"].pop("realtimeInputConfig"))
        unknown(types.LiveClientMessage, message)
    assert {key for message in said for key in message} >= {"setupComplete", "serverContent", "toolCall", "goAway"}
    for message in said:
        unknown(types.LiveServerMessage, message)


def unknown(kind: Any, message: Any) -> None:
    """Fail for a key, at any depth, that the type has no field for; and where a value does not fit."""
    kind.model_validate(message)  # the package's types forbid what they do not know, at every depth
    assert kind.model_config["extra"] == "forbid"
