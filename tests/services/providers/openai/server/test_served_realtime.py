"""A realtime model behind the server: another server's client, which leaves the turns to this one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from bargein.pipeline import Audio, ToolCall
from bargein.services.providers.openai import OpenAIRealtime
from bargein.services.providers.openai.server.serve import serve_socket
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.testing import ScriptedBrain

from .server_kit import Client, piped, spoken

pytestmark = pytest.mark.virtual


@asynccontextmanager
async def relayed(brain: ScriptedBrain) -> AsyncIterator[tuple[Client, OpenAIRealtime]]:
    """A client, this project's server, its model, and another server of this project with a brain."""
    async with anyio.create_task_group() as group:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            group.start_soon(serve_socket, theirs, lambda: brain)
            try:
                yield ours
            finally:
                await ours.close()

        model = OpenAIRealtime(api_key="key", connect=connect)
        async with piped(lambda: model) as (client, _):
            yield client, model
        group.cancel_scope.cancel()


def said(client: Client, count: int = 1) -> str:
    done = client.of("response.done")[count - 1]["response"]
    return "".join(part["transcript"] for item in done["output"] for part in item.get("content", ()))


async def test_a_spoken_turn_and_a_barge_in() -> None:
    """The server that the client talks to hears when it is whose turn; each turn is answered once."""
    brain = ScriptedBrain("word " * 30, "Yes?", hears=["Tell me.", "Wait."], paced=True, word_ms=350)
    async with relayed(brain) as (client, model):
        await client.send("session.update", session={"type": "realtime", "audio": {"input": {"transcription": {}}}})
        await client.speak(spoken("time"), live=True)
        first = await client.next("response.output_audio.delta")
        await anyio.sleep(2)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.speak(spoken("wait"), live=True))
            await client.next("input_audio_buffer.speech_started", 2)
            item = first["item_id"]
            await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1400)
        await client.next("response.done", 2)
        await anyio.sleep(5)
        assert [each["response"]["status"] for each in client.of("response.done")] == ["cancelled", "completed"]
        assert said(client, 2) == "Yes?"
        assert model.settings.turn_detection is None
        kept = [entry.remembered.strip() for entry in model.history if entry.role == "assistant"]
        assert [len(each.split()) for each in kept] in ([4, 1], [5, 1])
    assert not any(isinstance(frame, Audio) for frame in brain.taken)


async def test_history_and_tools_go_through() -> None:
    """What a client puts in, and a tool of its own, which it answers."""
    brain = ScriptedBrain([ToolCall(call_id="c", name="clock", arguments="{}")], "It is noon.", word_ms=0)
    tool = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}
    async with relayed(brain) as (client, model):
        await client.send("session.update", session={"type": "realtime", "tools": [tool]})
        content = [{"type": "output_text", "text": "Before."}]
        item = {"type": "message", "role": "assistant", "content": content}
        await client.send("conversation.item.create", item=item)
        await client.say("What time is it?")
        done = await client.next("response.done")
        assert [each["name"] for each in done["response"]["output"]] == ["clock"]
        output = {"type": "function_call_output", "call_id": "c", "output": "12:00"}
        await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        await client.next("response.done", 2)
        assert said(client, 2) == "It is noon."
        assert [(entry.role, entry.output or entry.remembered) for entry in model.history] == [
            ("assistant", "Before."), ("user", "What time is it?"), ("call", "12:00"), ("assistant", "It is noon."),
        ]  # fmt: skip
        assert not client.of("error")
