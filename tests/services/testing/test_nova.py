"""The scripted server, and the peer of these tests: a client of either sees the same."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bargein.pipeline import Audio, Interrupt, ResponseEnded, Text, ToolCall, ToolResult, Transcript, Usage, UserText
from bargein.pipeline.testing import Harness, framed, silence, speech_like
from bargein.processors import Pacer, Spoken
from bargein.services.providers.nova import NovaSonic
from bargein.services.testing import ScriptedNova

pytestmark = pytest.mark.virtual


def session(server: ScriptedNova, **options: Any) -> Harness:
    return Harness(NovaSonic(connect=server.connect, **options), Spoken(), Pacer())


async def test_it_answers_what_is_said_and_what_is_written() -> None:
    """With its replies, in order, over and over."""
    server = ScriptedNova("Good morning.", "Good night.", hears=["Who is there?"])
    async with session(server) as harness:
        await harness.play(list(framed(speech_like(800, rate=16_000), rate=16_000)))
        await harness.next(ResponseEnded, within_seconds=10)
        for _ in range(2):
            await anyio.sleep(5)
            await harness.send(UserText(text="And now?"))
            await harness.next(ResponseEnded, within_seconds=10)
        said = "".join(frame.text for frame in harness.of(Text))
        assert said == "Good morning.Good night.Good morning."
        assert next(frame.text for frame in harness.of(Transcript) if frame.final) == "Who is there?"
        assert harness.session.epoch == 0
        assert {usage.output_audio_tokens for usage in harness.of(Usage)} == {20}
        assert server.connections == 1
        await harness.session.cancel()


async def test_it_is_interrupted_by_what_is_said() -> None:
    """Also when it has made all of its sound, and that is being heard."""
    server = ScriptedNova("A long story that nobody wants to hear to its end.", "Yes?")
    async with session(server) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio, within_seconds=10)
        await anyio.sleep(1)
        await harness.play(list(framed(speech_like(500, rate=16_000), rate=16_000)))
        await harness.next(Interrupt, within_seconds=2)
        await harness.play(list(framed(silence(1500, rate=16_000), rate=16_000)))
        await anyio.sleep(3)
        assert [frame.outcome for frame in harness.of(ResponseEnded)][-1] == "completed"
        assert harness.of(Text)[-1].epoch == 1
        assert harness.session.epoch == 1
        await harness.session.cancel()


async def test_it_calls_and_pauses() -> None:
    """The answer to a call is the next reply."""
    server = ScriptedNova([ToolCall(call_id="c1", name="clock", arguments="{}")], [1.0, "It is noon."])
    async with session(server) as harness:
        await harness.send(UserText(text="What time is it?"))
        call = await harness.next(ToolCall, within_seconds=5)
        assert (call.call_id, call.name) == ("c1", "clock")
        began = anyio.current_time()
        await harness.send(ToolResult(call_id="c1", output="noon"))
        await harness.next(Audio, within_seconds=5)
        assert anyio.current_time() > began + 1
        assert ("toolResult", '{"result":"noon"}') in [
            (name, fields.get("content")) for name, fields in server.received
        ]
        await harness.session.cancel()
