"""Qwen Omni: what is sent, and conversations with a local peer."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Image,
    ResponseEnded,
    SpeechStarted,
    Text,
    ToolCall,
    Transcript,
    UserText,
    Video,
)
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Pacer, Resample, Spoken
from bargein.services.frames import Disconnected, ToolFinished
from bargein.services.history import History
from bargein.services.providers.openai.server.serve import Faults, serve
from bargein.services.providers.qwen import QWEN, QwenOmni
from bargein.services.realtime import RealtimeError, ReconnectPolicy, UnsupportedError
from bargein.services.testing import ScriptedBrain
from bargein.services.tools import tool
from tests.services.piped import piped
from tests.speech import utterances

JPEG = b"\xff\xd8\xff\xe0 a picture"
TOOL = {"name": "get_time", "description": "Clock", "parameters": {"type": "object", "properties": {}}}


def sent(model: QwenOmni, *commands: Any) -> list[dict[str, Any]]:
    """The messages of some commands, on one connection."""
    protocol = model._protocol()
    return [json.loads(message) for command in commands for message in command(protocol)]


def test_the_session() -> None:
    """Flat, with functions under `function`; an id in each event; settings of its own."""

    @tool(name="get_time", description="Clock")
    async def get_time() -> str:
        return ""

    model = QwenOmni(
        api_key="k",
        instructions="Be brief.",
        tools=[get_time],
        turn_detection={"type": "server_vad", "threshold": -0.5, "silence_duration_ms": 800},
        extra={"video": {"input": {"representation_compact": True}}},
    )
    (opening,) = sent(model, lambda protocol: protocol.open_session(model.settings))
    assert opening.pop("event_id")
    tools = opening["session"].pop("tools")
    assert opening == {
        "type": "session.update",
        "session": {
            "instructions": "Be brief.",
            "modalities": ["text", "audio"],
            "voice": "Tina",
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": {"model": "gummy-realtime-v1"},
            "turn_detection": {"type": "server_vad", "threshold": -0.5, "silence_duration_ms": 800},
            "video": {"input": {"representation_compact": True}},
        },
    }
    assert [each["function"]["name"] for each in tools] == ["get_time"]


def test_commands() -> None:
    """Each with an id of its own; a cancel without the response's; a picture behind some sound."""
    model = QwenOmni(api_key="k")
    made = sent(
        model,
        lambda protocol: protocol.image(JPEG, "jpeg"),
        lambda protocol: [protocol.audio(b"\x01\x00")],
        lambda protocol: protocol.image(JPEG, "jpeg"),
        lambda protocol: protocol.commit(),
        lambda protocol: protocol.respond("Greet the user."),
        lambda protocol: protocol.cancel("r"),
    )
    ids = [each.pop("event_id") for each in made]
    assert len(set(ids)) == len(ids)
    shown = {"type": "input_image_buffer.append", "image": base64.b64encode(JPEG).decode()}
    quiet, *rest = made
    assert quiet == {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(3200)).decode()}
    assert rest == [
        shown,
        {"type": "input_audio_buffer.append", "audio": "AQA="},
        shown,
        {"type": "input_audio_buffer.commit"},
        {"type": "response.create", "response": {"instructions": "Greet the user."}},
        {"type": "response.cancel"},
    ]


def test_where_it_connects() -> None:
    """To the region's address, as the key's owner, in a workspace."""
    endpoint = QwenOmni(api_key="k", workspace="w")._protocol().endpoint()
    assert endpoint.url == "wss://dashscope.aliyuncs.com/api-ws/v1/realtime?model=qwen3.5-omni-plus-realtime"  # type: ignore[union-attr]
    assert dict(endpoint.headers) == {"Authorization": "Bearer k", "X-DashScope-WorkSpace": "w"}  # type: ignore[union-attr]
    abroad = QwenOmni(api_key="k", url="wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime")._protocol().endpoint()
    assert abroad.url.startswith("wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime?model=")  # type: ignore[union-attr]


def test_what_cannot_be_is_refused() -> None:
    """Before anything is sent, with what to use instead."""
    with pytest.raises(ValueError, match="at most 2 pictures per second"):
        QwenOmni(api_key="k", fps=5)
    with pytest.raises(ValueError, match="Qwen Omni has server_vad"):
        QwenOmni(api_key="k", turn_detection="semantic_vad")
    with pytest.raises(UnsupportedError, match="apart"):
        QwenOmni(api_key="k").profile.require("supports_out_of_band", "Respond(apart=...)")


@pytest.mark.virtual
async def test_a_model_that_takes_no_text() -> None:
    """It is sent neither typed text nor an earlier conversation."""
    history = History()
    history.user("Hello.", "u")
    async with piped(lambda: ScriptedBrain("Hi."), QWEN) as peer:
        model = QwenOmni(api_key="k", supports_text_input=False, history=history, connect=peer.connect)
        async with Harness(model) as harness:
            await anyio.sleep(1)
            assert [event["type"] for event in peer.sent] == ["session.update"]
            await harness.send(UserText(text="hello"))
            failure = await harness.next(Failure)
            assert "Qwen Omni cannot do typed text" in failure.message
            assert "hello" not in failure.message
            await harness.session.cancel()


@pytest.mark.virtual
async def test_it_hears_at_16_and_speaks_at_24_khz() -> None:
    """Real speech is found, transcribed and answered; no command of ours is refused."""
    said = np.concatenate([silence(500), utterances()["weather"].samples, silence(1500)])
    brain = ScriptedBrain("It is sunny.", hears=["What is the weather in Paris?"])
    async with piped(lambda: brain, QWEN) as peer:
        async with Harness(Resample(16_000), QwenOmni(api_key="k", connect=peer.connect)) as harness:
            await harness.play(list(framed(said)))
            await harness.next(ResponseEnded, within_seconds=30)
            assert harness.of(SpeechStarted)
            assert harness.of(Transcript)[-1].text == "What is the weather in Paris?"
            assert {frame.rate for frame in harness.of(Audio)} == {24_000}
            assert abs(brain.heard_ms - len(said) / 16) < 200
            assert not harness.of(Failure)
            await harness.session.cancel()


@pytest.mark.virtual
async def test_pictures_are_sampled_and_limited() -> None:
    """Two a second of a camera's thirty are sent; a picture that cannot be read is a failure, not the end."""
    async with piped(lambda: ScriptedBrain("I see."), QWEN) as peer:
        async with Harness(QwenOmni(api_key="k", fps=2, connect=peer.connect)) as harness:
            await anyio.sleep(0.1)
            for number in range(90):
                pts = number * 1_000_000_000 // 30
                await harness.send(Video(data=JPEG, format="jpeg", pts=pts))
            await harness.send(Image(data=bytes(600_000), format="jpeg"))
            await anyio.sleep(1)
            assert 6 <= len(peer.of("input_image_buffer.append")) <= 7
            await harness.send(Image(data=JPEG, format="png"))
            failure = await harness.next(Failure)
            assert "Image(600000 bytes, jpeg, pts=0.000s) cannot be decoded" in failure.message
            failure = await harness.next(Failure)
            assert "holds a jpeg; set format='jpeg'" in failure.message
            await harness.session.cancel()


@pytest.mark.virtual
async def test_the_end_is_told() -> None:
    """Once, before the connection is closed."""
    async with piped(lambda: ScriptedBrain("Yes."), QWEN) as peer:
        async with QwenOmni(api_key="k", connect=peer.connect).connect():
            assert not peer.of("session.finish")
        assert len(peer.of("session.finish")) == 1


@pytest.mark.virtual
async def test_tools_and_an_interrupt() -> None:
    """A tool is run and answered; an interrupt cancels what is being made, and the memory is ours alone."""

    @tool
    async def weather(city: str) -> str:
        return "sunny"

    replies = [ToolCall(call_id="", name="weather", arguments='{"city": "Rome"}')], "It is sunny " * 30
    brain = ScriptedBrain(*replies, paced=True, word_ms=400)
    faults = Faults(late_deltas_after_cancel=3, late_deltas_after_done=2, malformed_json=True, unknown_events=True)
    async with piped(lambda: brain, QWEN, faults=faults) as peer:
        model = QwenOmni(api_key="k", tools=[weather], connect=peer.connect)
        async with Harness(model, Spoken(), Pacer()) as harness:
            await harness.send(UserText(text="How is the weather?"))
            await harness.next(Audio, within_seconds=20)
            assert [frame.output for frame in harness.of(ToolFinished)] == ["sunny"]
            await anyio.sleep(1)
            number = harness.interrupt()
            came = len(harness.frames)
            await anyio.sleep(3)
            late = [frame for frame in harness.frames[came:] if isinstance(frame, Audio | Text)]
            assert all(frame.epoch >= number for frame in late)
            assert len(peer.of("response.cancel")) == 1
            assert not peer.of("conversation.item.truncate") + peer.of("conversation.item.delete")
            (kept,) = [entry.remembered for entry in model.history if entry.role == "assistant"]
            assert 1 <= len(kept.split()) <= 5
            await harness.session.cancel()


@pytest.mark.parametrize("code", [1011, 1012, 1013, 1014])
@pytest.mark.virtual
async def test_closes_that_are_tried_again(code: int) -> None:
    """The conversation goes on over the next connection."""
    async with piped(lambda: ScriptedBrain("Hello."), QWEN) as peer:
        policy = ReconnectPolicy(first_seconds=0.1)
        async with Harness(QwenOmni(api_key="k", connect=peer.connect, reconnect=policy)) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(ResponseEnded, within_seconds=10)
            await peer.sockets[0].close(code, "server restarts")
            lost = await harness.next(Disconnected, within_seconds=10)
            assert str(code) in lost.reason
            assert not lost.final
            await harness.send(UserText(text="again"))
            await harness.next(ResponseEnded, within_seconds=10)
            items = [event["item"] for event in peer.of("conversation.item.create")]
            assert [item["role"] for item in items] == ["user", "user", "assistant", "user"]
            assert items[2]["content"] == [{"type": "text", "text": "Hello."}]
            await harness.session.cancel()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_over_a_socket(backend: str) -> None:
    """With its key and at its path it is answered; with another key it is told why not."""

    async def talk() -> None:
        async with serve(lambda: ScriptedBrain("Hello."), dialect=QWEN, api_keys={"key"}) as server:
            async with QwenOmni(api_key="key", url=server.url).connect() as conversation:
                await conversation.send_text("hello")
                words = ""
                async for event in conversation:
                    words += event.text if isinstance(event, Text) else ""
                    if isinstance(event, ResponseEnded):
                        break
                assert words == "Hello."
            with pytest.raises(RealtimeError, match="the key is not accepted"):
                async with QwenOmni(api_key="other", url=server.url).connect():
                    pass

    async def within() -> None:
        with anyio.fail_after(60):
            await talk()

    anyio.run(within, backend=backend)
