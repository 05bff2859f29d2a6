"""A plain cascade behind the server: it leaves the turns to it, and every client of the protocol can talk to it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Image, ResponseEnded, Transcript
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import EncodeJpeg, Heard, Pacer, Resample, Spoken
from bargein.services.cascade import Cascade, ToolRequest
from bargein.services.failover import Failover
from bargein.services.providers.openai import OpenAIRealtime
from bargein.services.providers.openai.server.serve import serve_socket
from bargein.services.providers.rules import Rules
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.tools import tool
from tests.services.cascade.parts import LETTER_MS, Ears, Mind, Voice
from tests.speech import utterances

from .server_kit import Client, piped, spoken

pytestmark = pytest.mark.virtual

STORY = "Once upon a time there was a king who had three sons and no time to listen to any of them. " * 3
TOOL = {"type": "function", "name": "clock", "description": "The time.", "parameters": {"type": "object"}}


class Interim(Ears):
    """Understands the first word while the sound still comes."""

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        async for _ in sound:
            yield "what"


def said(client: Client, count: int = 1) -> str:
    """What the how-many-eth response says."""
    done = client.of("response.done")[count - 1]["response"]
    return "".join(part["transcript"] for item in done["output"] for part in item.get("content", ())).strip()


def remembered(brain: Cascade) -> list[tuple[str, str]]:
    return [(entry.role, (entry.output or entry.remembered).strip()) for entry in brain.history.remembered]


async def test_what_is_said_is_answered() -> None:
    """The server hears when; the cascade hears what, from the first syllable on, and answers once."""
    ears = Ears("What time is it?")
    brain = Cascade(ears, Mind(["Five past ten."]), Voice())
    transcribed = {"audio": {"input": {"transcription": {"model": "any"}}}}
    async with piped(lambda: brain, session=transcribed) as (client, _):
        await client.speak(bytes(48 * 1000) + spoken("time"), live=True)
        await client.next("response.done")
        await anyio.sleep(5)
        assert said(client) == "Five past ten."
        (began, ended) = utterances()["time"].speech_ms[0][0], utterances()["time"].speech_ms[-1][1]
        assert ears.heard_ms[0] >= ended - began + 300
        completed = client.of("conversation.item.input_audio_transcription.completed")
        assert [each["transcript"] for each in completed] == ["What time is it?"]
        assert completed[0]["item_id"] == client.of("input_audio_buffer.speech_started")[0]["item_id"]
        assert len(client.of("response.created")) == 1
        assert not client.of("error")
    assert remembered(brain) == [("user", "What time is it?"), ("assistant", "Five past ten.")]


async def test_push_to_talk() -> None:
    """Without turn detection the sound that was committed is a turn, in which nobody says when speech starts."""
    ears = Ears("one", "two")
    brain = Cascade(ears, Mind(["Yes."]), Voice())
    session = {"audio": {"input": {"turn_detection": None}}}
    async with piped(lambda: brain, session=session) as (client, _):
        await client.speak(spoken("time"), live=True)
        await anyio.sleep(3)
        assert not client.of("response.created")
        await client.send("input_audio_buffer.clear")
        for count, name in enumerate(("yes", "stop"), 1):
            await client.speak(spoken(name, 0))
            await client.send("input_audio_buffer.commit")
            await client.send("response.create")
            await client.next("response.done", count)
    assert [each for each in remembered(brain) if each[0] == "user"] == [("user", "one"), ("user", "two")]
    lengths = [len(spoken(name, 0)) / 48 for name in ("yes", "stop")]
    assert ears.heard_ms == pytest.approx(lengths, abs=5)


async def test_what_is_committed_is_transcribed_at_once() -> None:
    """Also where no response is asked for: push to talk shows the words before the client wants an answer."""
    ears = Ears("one", "two", "three")
    brain = Cascade(ears, Mind(["Yes."]), Voice())
    session = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "any"}}}}
    async with piped(lambda: brain, session=session) as (client, _):
        for count, name in enumerate(("yes", "stop"), 1):
            await client.speak(spoken(name, 0))
            await client.send("input_audio_buffer.commit")
            completed = await client.next("conversation.item.input_audio_transcription.completed", count)
            assert completed["transcript"] == ("one", "two")[count - 1]
            assert completed["item_id"] == client.of("input_audio_buffer.committed")[count - 1]["item_id"]
        await anyio.sleep(60)
        assert not client.of("response.created")
        await client.send("response.create")
        await client.next("response.done")
        await anyio.sleep(5)
        assert len(client.of("response.done")) == 1
    assert remembered(brain) == [("user", "one two"), ("assistant", "Yes.")]
    lengths = [len(spoken(name, 0)) / 48 for name in ("yes", "stop")]
    assert ears.heard_ms == pytest.approx(lengths, abs=5)


async def test_every_commit_is_answered() -> None:
    """Also one in which not a word was heard, and one whose words are late."""
    brain = Cascade(Ears("", "hello there", seconds=2.0), Mind(["Hello."]), Voice(), no_speech_reply="Pardon?")
    session = {"audio": {"input": {"turn_detection": None}}}
    async with piped(lambda: brain, session=session) as (client, _):
        for count in (1, 2):
            await client.speak(bytes(48 * 500))
            await client.send("input_audio_buffer.commit")
            await client.send("response.create")
            await client.next("response.done", count)
        assert (said(client), said(client, 2)) == ("Pardon?", "Hello.")


async def test_the_client_decides_when_it_is_answered() -> None:
    """With `create_response` off, silence is no turn."""
    brain = Cascade(Ears("one", "two"), Mind(["Both."]), Voice())
    turns = {"type": "server_vad", "create_response": False, "interrupt_response": False}
    async with piped(lambda: brain, session={"audio": {"input": {"turn_detection": turns}}}) as (client, _):
        for name in ("yes", "stop"):
            await client.speak(spoken(name, 2000), live=True)
        await anyio.sleep(5)
        assert not client.of("response.created")
        await client.send("response.create")
        await client.next("response.done")
        await anyio.sleep(5)
        assert len(client.of("response.done")) == 1
    assert remembered(brain) == [("user", "one two"), ("assistant", "Both.")]


@pytest.mark.parametrize("create_response", [True, False])
async def test_sound_that_stops_in_the_middle_of_speech_is_not_answered(create_response: bool) -> None:
    """The server decides turns, and it has seen no end of the speech: no timer of the brain decides one either."""
    brain = Cascade(Interim(), Mind(["Answer."]), Voice())
    turns = {"type": "server_vad", "create_response": create_response}
    async with piped(lambda: brain, session={"audio": {"input": {"turn_detection": turns}}}) as (client, _):
        speech = spoken("time", 0)
        await client.speak(bytes(48 * 500) + speech[: len(speech) // 2], live=True)
        assert client.of("input_audio_buffer.speech_started")
        assert not client.of("input_audio_buffer.speech_stopped")
        await anyio.sleep(300)
        assert not client.of("response.created")


async def test_a_response_outside_the_conversation() -> None:
    """The cascade's model answers in text, and the history stays as it is."""
    brain = Cascade(Ears(), Mind(["Hello!"], ["No."]), Voice())
    async with piped(lambda: brain) as (client, _):
        await client.say("Hi.")
        await client.next("response.done")
        wanted = {"conversation": "none", "instructions": "Is it about billing?", "metadata": {"topic": "billing"}}
        await client.send("response.create", response=wanted)
        done = (await client.next("response.done", 2))["response"]
        assert (done["status"], done["metadata"]) == ("completed", {"topic": "billing"})
        assert done["output"][0]["content"][0]["text"] == "No."
        assert not client.of("error")
    assert remembered(brain) == [("user", "Hi."), ("assistant", "Hello!")]


async def test_a_system_item_and_a_request_are_answered_offline() -> None:
    """As Pipecat begins a conversation, and later makes the agent speak: each response has words."""
    brain = Cascade(Ears(), Rules(), Voice())
    async with piped(lambda: brain) as (client, _):
        for count, text in enumerate(("Greet the user.", "The user is silent; ask whether they are there."), 1):
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "system", "content": content}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            await client.next("response.done", count)
        assert said(client) == Rules().greeting
        assert said(client, 2) == Rules().nudge


async def test_a_barge_in() -> None:
    """Speech ends the answer; what the client says was heard is what the cascade remembers, to the word."""
    brain = Cascade(Ears("wait"), Mind([STORY], ["I am waiting."]), Voice(words=True))
    async with piped(lambda: brain) as (client, _):
        await client.say("Tell me a story.")
        first = await client.next("response.output_audio.delta")
        await anyio.sleep(2)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.speak(spoken("wait"), live=True))
            await client.next("input_audio_buffer.speech_started")
            ms, item = round(17 * LETTER_MS), first["item_id"]  # Once upon a time
            await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=ms)
        await client.next("response.done", 2)
        assert said(client, 2) == "I am waiting."
        await anyio.sleep(1)
        assert remembered(brain)[:3] == [
            ("user", "Tell me a story."), ("assistant", "Once upon a time"), ("user", "wait"),
        ]  # fmt: skip
    assert remembered(brain)[3:] == [("assistant", "I am waiting.")], "sent, and not cut: heard"


async def test_a_turn_that_was_overtaken_belongs_to_the_next() -> None:
    """A user who continues before the answer has begun gets one answer to all of it."""
    brain = Cascade(Ears("I would like", "a table for two", seconds=0.4), Mind(["Certainly."]), Voice())
    async with piped(lambda: brain) as (client, _):
        await client.speak(spoken("yes", 600), live=True)
        await client.speak(spoken("table", 3000), live=True)
        await client.next("response.done")
        await anyio.sleep(5)
        finished = [each["response"]["status"] for each in client.of("response.done")]
        assert finished.count("completed") == 1
    assert remembered(brain) == [("user", "I would like a table for two"), ("assistant", "Certainly.")]


async def test_tools_of_the_client() -> None:
    """They are offered to the model beside the brain's own; the client sees its own calls alone, and answers them."""

    @tool
    def here() -> str:
        return "from here"

    mind = Mind(
        [ToolRequest(name="here")], [ToolRequest(name="clock", call_id="c")], ["It is noon."], ["Nothing more."]
    )
    brain = Cascade(Ears(), mind, Voice(), tools=[here], instructions="Be kind.")
    async with piped(lambda: brain, session={"tools": [TOOL]}) as (client, _):
        await client.send("session.update", session={"type": "realtime", "tools": [TOOL]})
        await client.say("What time is it?")
        done = (await client.next("response.done"))["response"]
        assert [(item["type"], item["name"]) for item in done["output"]] == [("function_call", "clock")]
        assert [each["name"] for each in mind.prompts[0].tools] == ["here", "clock"]
        output = {"type": "function_call_output", "call_id": "c", "output": "12:00"}
        await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        await client.next("response.done", 2)
        assert said(client, 2) == "It is noon."
        await client.send("response.create", response={"instructions": "Be rude.", "tools": []})
        await client.next("response.done", 3)
        assert [prompt.instructions for prompt in mind.prompts] == [*["Be kind."] * 3, "Be rude."]
        assert [each["name"] for each in mind.prompts[-1].tools] == ["here"]
        await anyio.sleep(1)
        assert len(client.of("response.created")) == 3
    assert [entry.output for entry in brain.history if entry.role == "call"] == ["from here", "12:00"]


async def test_a_call_that_the_client_does_not_answer() -> None:
    """Holds up nobody: the next question is answered at once."""
    mind = Mind([ToolRequest(name="clock", call_id="c")], ["I do not know."])
    async with piped(lambda: Cascade(Ears(), mind, Voice())) as (client, _):
        await client.send("session.update", session={"type": "realtime", "tools": [TOOL]})
        await client.say("What time is it?")
        await client.next("response.done")
        await client.say("Well?")
        await client.next("response.done", 2, within_seconds=5)
        assert said(client, 2) == "I do not know."


async def test_history_pictures_and_text() -> None:
    """What a client puts into the conversation is in the prompt; a text that was read is remembered."""
    picture = next(EncodeJpeg().process(Image(np.zeros((2, 2, 3), np.uint8)))).data
    assert isinstance(picture, bytes)
    mind = Mind(["A dog. It is asleep."])
    mind.images = True
    brain = Cascade(Ears(), mind, Voice())
    async with piped(lambda: brain, session={"output_modalities": ["text"]}) as (client, _):
        for role, kind in (("system", "input_text"), ("user", "input_text"), ("assistant", "output_text")):
            item = {"type": "message", "role": role, "content": [{"type": kind, "text": f"The {role}."}]}
            await client.send("conversation.item.create", item=item)
        parts = [
            {"type": "input_image", "image_url": f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"},
            {"type": "input_text", "text": "What is that?"},
        ]
        await client.send("conversation.item.create", item={"type": "message", "role": "user", "content": parts})
        await client.send("response.create")
        await client.next("response.done")
        roles = [(entry.role, entry.remembered, len(entry.available_pictures)) for entry in mind.prompts[0].entries]
        assert roles == [
            ("system", "The system.", 0), ("user", "The user.", 0), ("assistant", "The assistant.", 0),
            ("user", "", 1), ("user", "What is that?", 0),
        ]  # fmt: skip
        await client.say("And now?")
        await client.next("response.done", 2)
        assert [entry.remembered for entry in mind.prompts[1].entries if entry.role == "assistant"][-1] == (
            "A dog. It is asleep."
        )
        assert not client.of("error")


async def test_what_goes_wrong_is_told() -> None:
    """The client gets an error event, and an apology; the session continues."""
    brain = Cascade(
        Ears(RuntimeError("no ear")), Mind([RuntimeError("no mind")], ["Better."]), Voice(), error_reply="Oh."
    )
    async with piped(lambda: brain, show_errors=True) as (client, _):
        await client.say("Hello?")
        done = await client.next("response.done")
        assert done["response"]["status"] == "failed"
        assert said(client) == "Oh."
        await client.speak(spoken("yes"), live=True)
        await client.next("response.done", 2)
        assert said(client, 2) == "Sorry, I did not hear you."
        await client.say("And now?")
        await client.next("response.done", 3)
        assert said(client, 3) == "Better."
        assert [each["error"]["message"] for each in client.of("error")] == ["Mind: no mind", "Ears: no ear"]


async def test_a_failover_behind_the_server() -> None:
    """The brain that goes on leaves the turns to the server, too, and has the client's tools."""
    broken = Cascade(Ears("one"), Mind([ConnectionError("gone")]), Voice(), name="first")
    mind = Mind(["I am here."])
    brain = Failover(broken, Cascade(Ears("one", "two", "three"), mind, Voice(), name="second"))
    turns = {"type": "server_vad", "create_response": False}
    session = {"tools": [TOOL], "audio": {"input": {"turn_detection": turns}}}
    async with piped(lambda: brain, session=session) as (client, _):
        await client.speak(spoken("yes", 1000), live=True)
        await client.send("response.create")
        await client.next("response.done")
        await anyio.sleep(3)
        asked = len(mind.prompts)
        assert asked >= 1
        assert [each["name"] for each in mind.prompts[-1].tools] == ["clock"]
        await client.speak(spoken("stop", 3000), live=True)
        await anyio.sleep(3)
        assert len(mind.prompts) == asked, "nobody has asked for an answer"
        await client.send("response.create")
        await anyio.sleep(3)
        assert len(mind.prompts) == asked + 1


# With this project's own client ---------------------------------------------------------------------------------------


@asynccontextmanager
async def called(brain: Cascade, **options: Any) -> AsyncIterator[OpenAIRealtime]:
    """A realtime model that is a cascade behind the server, in a pipe."""
    async with anyio.create_task_group() as group:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            group.start_soon(serve_socket, theirs, lambda: brain)
            try:
                yield ours
            finally:
                await ours.close()

        yield OpenAIRealtime(api_key="key", connect=connect, **options)
        group.cancel_scope.cancel()


def telephone(model: OpenAIRealtime) -> Harness:
    return Harness(Resample(24_000), model, Spoken(), Pacer())


async def test_a_call_through_the_client() -> None:
    """A spoken question, a tool of the caller's, the answer, a barge-in; both sides remember the same."""

    @tool
    async def weather(city: str) -> str:
        await anyio.sleep(0.3)
        return f"sunny in {city}"

    mind = Mind(
        [ToolRequest(name="weather", arguments='{"city": "Paris"}')],
        ["It is sunny in Paris, and it will be so for many days, as far as anybody can tell from here. " * 2],
        ["I am waiting."],
    )
    brain = Cascade(Ears("What is the weather in Paris?", "No, wait."), mind, Voice(words=True))
    async with called(brain, tools=[weather]) as model, telephone(model) as harness:
        said = [utterances()["weather"].samples, silence(4000.0), utterances()["wait"].samples, silence(3000.0)]
        await harness.play(list(framed(np.concatenate(said))))
        await anyio.sleep(3)
        first, second = (frame for frame in harness.of(Heard) if frame.done and frame.text)
        assert first.text.startswith("It is sunny in Paris")
        assert first.remaining
        assert second.text.strip() == "I am waiting."
        assert [frame.outcome for frame in harness.of(ResponseEnded)][-1] == "completed"
        assert [frame.text for frame in harness.of(Transcript) if frame.final and frame.speaker == "user"] == [
            "What is the weather in Paris?", "No, wait.",
        ]  # fmt: skip
        theirs, ours = ([each for each in h.remembered if each.role != "user"] for h in (brain.history, model.history))
        assert [each.output for each in theirs if each.role == "call"] == ["sunny in Paris"]
        for one, other in zip(theirs, ours, strict=True):
            assert one.role == other.role
            assert abs(len(one.remembered.split()) - len(other.remembered.split())) <= 1
            assert one.remembered.strip()[:20] == other.remembered.strip()[:20]
        await harness.session.cancel()


@pytest.mark.timeout(120)
async def test_the_offline_cascade_through_the_client() -> None:
    """It hears real speech, calls a tool of the caller's, speaks, and is interrupted by real speech."""
    pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    cities: list[str] = []

    @tool
    def weather(city: str) -> dict[str, Any]:
        cities.append(city)
        return {"sky": "sunny and warm and bright and dry and calm", "degrees": 21}

    brain = Cascade.offline()
    async with called(brain, tools=[weather]) as model, telephone(model) as harness:
        said = [silence(500.0), utterances()["weather"].samples, silence(2500.0), utterances()["wait"].samples]
        await harness.play(list(framed(np.concatenate([*said, silence(6000.0)]))))
        await anyio.sleep(5)
        assert cities == ["paris"]
        first, *_ = (frame for frame in harness.of(Heard) if frame.done and frame.text)
        assert first.text.startswith("It is sunny and warm")
        assert first.remaining
        kept = next(entry.remembered for entry in brain.history if entry.role == "assistant")
        assert abs(len(kept.split()) - len(first.text.split())) <= 3, "each side has an estimate of its own"
        await harness.session.cancel()
