"""The service's own Python package as the client. It was written by others; where it disagrees, the server is wrong."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from bargein.pipeline import Played, ToolCall, ToolResult, Usage
from bargein.processors import Turns
from bargein.services.cascade import Cascade
from bargein.services.providers.openai.server.serve import serve
from bargein.services.testing import ScriptedBrain

from .server_kit import spoken

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.real  # the package knows asyncio only

TOOL = {
    "type": "function",
    "name": "clock",
    "description": "The time in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@asynccontextmanager
async def talking(brain: ScriptedBrain | Cascade, **session: Any) -> AsyncIterator[Any]:
    """A connection of the package with a server for one brain."""
    async with serve(lambda: brain, api_keys=["sk-local"]) as server:
        client = openai.AsyncOpenAI(
            api_key="sk-local", base_url=server.base_url.replace("ws:", "http:"), websocket_base_url=server.base_url
        )
        async with client:
            async with client.realtime.connect(model="gpt-realtime") as connection:
                created = await connection.recv()
                assert created.type == "session.created"
                assert created.session.model == "gpt-realtime"
                await connection.session.update(session={"type": "realtime", **session})
                updated = await connection.recv()
                assert updated.type == "session.updated"
                yield connection


async def until(connection: Any, type: str) -> list[Any]:
    """The events up to one of a type, each valid by the package's own types."""
    events = []
    with anyio.fail_after(60):
        async for event in connection:
            type_of = event.__class__
            type_of.model_validate(event.model_dump(mode="json", by_alias=True, exclude_unset=True))
            events.append(event)
            if event.type == type:
                return events
    raise AssertionError(f"closed before {type}")


async def say(connection: Any, text: str) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await connection.conversation.item.create(item=item)
    await connection.response.create()


async def test_a_text_turn() -> None:
    """Words go there and back, with usage."""
    brain = ScriptedBrain(["Good morning.", Usage(input_tokens=12, output_tokens=3)])
    async with talking(brain, output_modalities=["text"]) as connection:
        await say(connection, "hello")
        events = await until(connection, "response.done")
        assert "".join(each.delta for each in events if each.type == "response.output_text.delta") == "Good morning."
        done = events[-1].response
        assert done.status == "completed"
        assert done.usage.total_tokens == 15
        assert done.output[0].content[0].text == "Good morning."


async def test_a_spoken_turn() -> None:
    """Real speech, found by the server, is transcribed and answered with sound."""
    brain = ScriptedBrain("Five past ten.", hears=["What time is it?"])
    listening = {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}
    async with talking(brain, audio=listening) as connection:
        data = spoken("time")
        for at in range(0, len(data), 4800):
            await connection.input_audio_buffer.append(audio=base64.b64encode(data[at : at + 4800]).decode())
        events = await until(connection, "response.done")
        kinds = [each.type for each in events]
        assert kinds[:3] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
        ]
        said = next(each for each in events if each.type.endswith("input_audio_transcription.completed"))
        assert said.transcript == "What time is it?"
        assert said.item_id == events[0].item_id
        sound = b"".join(base64.b64decode(each.delta) for each in events if each.type == "response.output_audio.delta")
        assert len(sound) == 3 * 4800
        assert events[-1].response.output[0].content[0].transcript == "Five past ten."


async def test_a_tool_turn() -> None:
    """The tool is called, its result reaches the brain, and the answer follows."""
    brain = ScriptedBrain([ToolCall(call_id="", name="clock", arguments='{"city": "Ulm"}')], "It is noon in Ulm.")
    async with talking(brain, output_modalities=["text"], tools=[TOOL]) as connection:
        await say(connection, "What time is it in Ulm?")
        events = await until(connection, "response.done")
        (call,) = events[-1].response.output
        assert (call.type, call.name, call.arguments) == ("function_call", "clock", '{"city": "Ulm"}')
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "12:00"}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        events = await until(connection, "response.done")
        assert events[-1].response.output[0].content[0].text == "It is noon in Ulm."
    assert [frame.output for frame in brain.taken if isinstance(frame, ToolResult)] == ["12:00"]


async def test_an_interruption() -> None:
    """Speech ends the answer; the client cuts it to what was played, and the brain learns how much that was."""
    brain = ScriptedBrain([" ".join(["word"] * 20), 60.0], "Yes?")
    async with talking(brain) as connection:
        await say(connection, "Tell me everything.")
        heard = 0.0
        events: list[Any] = []
        while heard < 2000:  # all there will be, as the answer then pauses
            events += await until(connection, "response.output_audio.delta")
            heard += len(base64.b64decode(events[-1].delta)) / 48
        item = events[-1].item_id
        data = spoken("stop")
        for at in range(0, len(data), 4800):
            await connection.input_audio_buffer.append(audio=base64.b64encode(data[at : at + 4800]).decode())
        await until(connection, "input_audio_buffer.speech_started")
        await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=450)
        events = await until(connection, "response.done")
        assert events[-1].response.status == "cancelled"
        assert events[-1].response.status_details.reason == "turn_detected"
        events = await until(connection, "response.done")
        assert events[-1].response.output[0].content[0].transcript == "Yes?"
        if not any(each.type == "conversation.item.truncated" for each in events):
            await until(connection, "conversation.item.truncated")
    first = next(frame for frame in brain.taken if isinstance(frame, Played) and frame.done)
    assert first.response_id == "reply-1"


WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def speak(connection: Any, name: str) -> None:
    data = spoken(name)
    for at in range(0, len(data), 4800):
        await connection.input_audio_buffer.append(audio=base64.b64encode(data[at : at + 4800]).decode())


def said(events: list[Any]) -> str:
    return "".join(each.delta for each in events if each.type == "response.output_audio_transcript.delta")


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["the brain's", "the client's"])
async def test_a_conversation_with_the_offline_cascade(whose: str) -> None:
    """The weather is asked for aloud, a tool is called, the answer spoken, and cut to what was heard of it."""
    pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    brain = Cascade.offline(turns=Turns(transcript_ms=30_000))  # a busy machine takes longer to hear what was said
    listening = {"input": {"transcription": {"model": "any"}}}
    tools = [WEATHER] if whose == "the client's" else []
    async with talking(brain, audio=listening, tools=tools) as connection:
        await speak(connection, "weather")
        events = await until(connection, "response.done")
        heard = next(each for each in events if each.type.endswith("input_audio_transcription.completed"))
        assert "weather" in heard.transcript
        if tools:
            (call,) = events[-1].response.output
            assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city":"paris"}')
            output = {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": '{"sky": "purple", "degrees": 9}',
            }
            await connection.conversation.item.create(item=output)
            await connection.response.create()
            events = await until(connection, "response.done")
        assert said(events).startswith("It is purple in paris, 9" if tools else "It is sunny in Paris, ")
        first = next(each for each in events if each.type == "response.output_audio.delta")
        sound = sum(len(each.delta) for each in events if each.type == "response.output_audio.delta")
        assert sound > 48_000
        await connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=700)
        await until(connection, "conversation.item.truncated")
        await say(connection, "thank you")
        events = await until(connection, "response.done")
        assert said(events) == "You are welcome."
        (cut, thanks) = [entry for entry in brain.history if entry.role == "assistant"]
        assert cut.heard is not None
        assert 0 < len(cut.heard.split()) < len(cut.text.split())
        assert cut.text.startswith(cut.heard)
        assert thanks.heard is None


async def test_an_error() -> None:
    """What is refused arrives as an error event, and the connection stays."""
    async with talking(ScriptedBrain("Hi."), output_modalities=["text"]) as connection:
        await connection.response.cancel(event_id="mine")
        (event,) = await until(connection, "error")
        assert (event.error.code, event.error.event_id) == ("response_cancel_not_active", "mine")
        await say(connection, "hello")
        await until(connection, "response.done")


async def test_a_wrong_key() -> None:
    """The package sees the refusal as what it is."""
    async with serve(ScriptedBrain, api_keys=["right"]) as server:
        async with openai.AsyncOpenAI(api_key="wrong", websocket_base_url=server.base_url) as client:
            with pytest.raises(Exception, match="401"):
                async with client.realtime.connect(model="gpt-realtime"):
                    pass
