"""NovaSonic against a scripted service: turns, interruption, tools and what it does not support."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from bargein.pipeline import Audio, Interrupt, ResponseEnded, ResponseStarted, Text, Transcript, Usage, UserText
from bargein.services.providers.nova import NovaSonic
from bargein.services.realtime import UnsupportedError
from bargein.services.tools import tool

from .peer import Peer
from .session_kit import say, session, written

pytestmark = pytest.mark.virtual


def names(peer: Peer, number: int = -1) -> list[str]:
    """The names of the events of a connection, and no sound."""
    return [name for name, _ in peer.sessions[number].events if name != "audioInput"]


async def test_spoken_question_is_answered() -> None:
    """The frames are the user's words, the agent's words with their sound, and the usage."""
    peer = Peer("It is sunny in Paris.")
    async with session(peer.model()) as harness:
        await say(harness)
        ended = await harness.next(ResponseEnded, within_seconds=30)
        await anyio.sleep(10)
        said = [(frame.text, frame.final) for frame in harness.of(Transcript) if frame.speaker == "user"]
        assert said == [("What is the weather in Paris?", False), ("What is the weather in Paris?", True)]
        assert ended.outcome == "completed"
        assert "".join(frame.text for frame in harness.of(Text)) == "It is sunny in Paris."
        assert sum(frame.ms for frame in harness.of(Audio)) == pytest.approx(2500)
        (usage,) = harness.of(Usage)
        assert (usage.input_tokens, usage.output_tokens) == (11, 22)
        assert (usage.input_audio_tokens, usage.output_audio_tokens) == (10, 20)
        assert usage.response_id == ended.response_id
        await harness.session.cancel()
    assert not peer.faults


async def test_order_of_messages() -> None:
    """From the beginning of the session to its end."""
    peer = Peer("Yes?")
    async with session(peer.model(instructions="Be brief.", voice="matthew", sensitivity="HIGH")) as harness:
        await harness.send(UserText(text="Hello."))
        await harness.next(ResponseEnded, within_seconds=30)
        await harness.end()
    await anyio.sleep(1)
    assert names(peer) == [
        "sessionStart",
        "promptStart",
        *("contentStart", "textInput", "contentEnd"),  # the instructions
        "contentStart",  # the microphone
        *("contentStart", "textInput", "contentEnd"),
        "contentEnd",
        "promptEnd",
        "sessionEnd",
    ]
    assert written(peer) == [("SYSTEM", "Be brief."), ("USER", "Hello.")]
    start, prompt = (fields for _, fields in peer.session.events[:2])
    assert start["turnDetectionConfiguration"] == {"endpointingSensitivity": "HIGH"}
    assert prompt["audioOutputConfiguration"]["voiceId"] == "matthew"
    assert "toolConfiguration" not in prompt
    assert not peer.faults


async def test_gaps_are_filled_with_silence() -> None:
    """Where the user's source sends nothing, silence of the same length is sent."""
    peer = Peer()
    async with session(peer.model()) as harness:
        await anyio.sleep(60)
        assert peer.heard_ms == pytest.approx(60_000, abs=500)
        await harness.session.cancel()


async def test_rates_and_settings() -> None:
    """They are sent in the service's words, with `extra` merged over them."""
    peer = Peer()
    extra = {
        "sessionStart": {"inferenceConfiguration": {"maxTokens": 100}},
        "promptStart": {"audioOutputConfiguration": {"voiceId": "amy"}},
    }
    async with session(peer.model(input_rate=8000, extra=extra)) as harness:
        await anyio.sleep(1)
        start, prompt = (fields for _, fields in peer.session.events[:2])
        begin = next(fields for _, fields in peer.session.events if fields.get("type") == "AUDIO")
        assert start == {"inferenceConfiguration": {"maxTokens": 100}}
        assert prompt["audioOutputConfiguration"]["voiceId"] == "amy"
        assert begin["audioInputConfiguration"]["sampleRateHertz"] == 8000
        await harness.session.cancel()


STORY = "Once upon a time there was a king who had three sons and no time to listen to them."


async def test_barge_in() -> None:
    """The service reports it up to three times. It is one step, and the history keeps what was heard."""
    peer = Peer(STORY, "Yes?")
    model = peer.model()
    async with session(model) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(2)
        await say(harness)
        await harness.next(Interrupt, within_seconds=5)
        came = len(harness.timeline)
        await anyio.sleep(10)
        assert harness.session.epoch == 1
        late = [frame for frame in harness.frames[came:] if isinstance(frame, Audio)]
        assert late
        assert all(frame.epoch == 1 for frame in late)
        first, second = [entry.remembered for entry in model.history if entry.role == "assistant"]
        assert STORY.startswith(first)
        assert 3 <= len(first.split()) <= 6
        assert second == "Yes?"
        await harness.session.cancel()
    assert not peer.faults


async def test_barge_in_after_the_last_sound() -> None:
    """All sound has come and is being heard: what the sink still holds is dropped."""
    peer = Peer(STORY, "Yes?", pace=0.0)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(1)
        assert peer.turns[0].made
        await say(harness, 100)
        await harness.next(Interrupt, within_seconds=5)
        assert sum(frame.ms for frame in harness.of(Audio)) < 1500
        await harness.session.cancel()


async def test_interrupt_from_the_application() -> None:
    """The service cannot be stopped: the rest of its turn is dropped, and its next turn is heard."""
    peer = Peer(STORY, "Yes?", pace=0.5)
    model = peer.model()
    async with session(model) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(1)
        harness.interrupt()
        came = len(harness.timeline)
        await anyio.sleep(5)
        assert not [frame for frame in harness.frames[came:] if isinstance(frame, Audio | Text) and frame.epoch == 0]
        assert names(peer).count("contentStart") == 3
        await harness.send(UserText(text="Wait."))
        started = harness.of(ResponseStarted)[0]
        while (await harness.next(Audio, within_seconds=60)).response_id == started.response_id:
            pass
        assert harness.session.epoch == 1
        await harness.session.cancel()


@pytest.mark.parametrize("reason", ["INTERRUPTED", "PARTIAL_TURN"])
async def test_interruption_by_end_of_block(reason: str) -> None:
    """The reason of the block's end is enough to interrupt. Other reasons do not."""
    peer = Peer(STORY)
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio, within_seconds=30)
        block = await peer.session.begin("TEXT", "ASSISTANT", "FINAL")
        await peer.session.send("contentEnd", contentId=block, type="TEXT", stopReason=reason)
        await anyio.sleep(1)
        assert harness.session.epoch == (reason == "INTERRUPTED")
        await harness.session.cancel()


async def test_tools() -> None:
    """They are described with their schema as a string. The answer to their result is a separate response."""
    asked: list[str] = []

    @tool
    async def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        await anyio.sleep(1)
        return "sunny"

    peer = Peer(("weather", json.dumps(json.dumps({"city": "Paris"}))), "It is sunny.")
    model = peer.model(tools=[weather])
    async with session(model) as harness:
        await harness.send(UserText(text="What is the weather in Paris?"))
        await harness.next(Audio, within_seconds=30)
        await anyio.sleep(5)
        assert asked == ["Paris"]
        assert peer.results == ['{"result":"sunny"}']
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["completed", "completed"]
        ((spec,),) = [[each["toolSpec"] for each in peer.session.events[1][1]["toolConfiguration"]["tools"]]]
        assert (spec["name"], spec["description"]) == ("weather", "The weather in a city.")
        assert json.loads(spec["inputSchema"]["json"])["properties"]["city"]["type"] == "string"
        await harness.session.cancel()
    assert not peer.faults


async def test_first_version_refuses_text() -> None:
    """The error comes before anything is sent."""
    peer = Peer(reads=False)
    async with peer.model("amazon.nova-sonic-v1:0").connect() as conversation:
        with pytest.raises(UnsupportedError, match=r"Nova Sonic cannot do send_text\(\)"):
            await conversation.send_text("Hello.")


async def test_first_version_hears_and_calls_tools() -> None:
    """It works as the second version does."""

    @tool
    async def weather(city: str) -> str:
        await anyio.sleep(1)
        return '{"sky": "blue"}'

    peer = Peer(("weather", '{"city": "Paris"}'), "It is sunny.", reads=False)
    async with session(peer.model("amazon.nova-sonic-v1:0", tools=[weather])) as harness:
        await say(harness)
        await harness.next(Audio, within_seconds=30)
        assert peer.results == ['{"sky": "blue"}']
        await harness.session.cancel()
    assert not peer.faults


async def test_response_requests_are_unsupported() -> None:
    """`Respond` is reported as not supported, because the model answers by itself."""
    peer = Peer()
    async with peer.model().connect() as conversation:
        with pytest.raises(UnsupportedError, match="it answers by itself"):
            await conversation.respond("Say hello.")
        with pytest.raises(UnsupportedError, match="let it find the end of a turn itself"):
            await conversation.commit()
        await conversation.clear()
        await anyio.sleep(1)
    assert not peer.faults


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_rate": 44_100}, "expected one of 8000, 16000, 24000"),
        ({"url": "http://localhost"}, "begins with https://"),
        ({"output_rate": 48_000}, "expected one of 8000, 16000, 24000"),
        ({"model": "amazon.nova-sonic-v1:0", "sensitivity": "HIGH"}, "use a model of Nova 2"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], says: str) -> None:
    """The error comes when the model is constructed."""
    with pytest.raises(ValueError, match=says):
        Peer().model(**options)


def test_region_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from the argument, the environment, or the files of AWS's tools."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ValueError, match="set AWS_REGION"):
        NovaSonic()
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    (url,) = {NovaSonic()._protocol().endpoint().url}  # type: ignore[union-attr]
    assert url == (
        "https://bedrock-runtime.eu-north-1.amazonaws.com/model/amazon.nova-2-5-sonic/invoke-with-bidirectional-stream"
    )
