"""NovaSonic in conversations with a scripted service: turns, interruption, tools, history and limits."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Interrupt,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    Transcript,
    Usage,
    UserText,
)
from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import Pacer, Spoken
from bargein.services.frames import Configure, Connected, Disconnected
from bargein.services.history import History
from bargein.services.providers.nova import NovaSonic
from bargein.services.realtime import RealtimeError, ReconnectPolicy, UnsupportedError
from bargein.services.sockets import SocketRefusedError
from bargein.services.tools import tool

from .peer import Peer, chunk, exception

pytestmark = pytest.mark.virtual


def session(model: NovaSonic, **options: Any) -> Harness:
    return Harness(model, Spoken(), Pacer(), **options)


def names(peer: Peer, number: int = -1) -> list[str]:
    """The names of the events of a connection, and no sound."""
    return [name for name, _ in peer.sessions[number].events if name != "audioInput"]


def written(peer: Peer, number: int = -1) -> list[tuple[str, str]]:
    """What stands in the blocks of text of a connection, with their roles."""
    blocks = {fields.get("contentName"): fields for name, fields in peer.sessions[number].events[::-1]}
    roles = {
        fields["contentName"]: fields["role"] for name, fields in peer.sessions[number].events if name == "contentStart"
    }
    assert blocks
    return [
        (roles[fields["contentName"]], fields["content"])
        for name, fields in peer.sessions[number].events
        if name == "textInput"
    ]


async def say(harness: Harness, ms: int = 500) -> None:
    """Speak, and fall silent."""
    await harness.play(list(framed(tone(440, ms, rate=16_000), rate=16_000)))


# A turn ---------------------------------------------------------------------------------------------------------------


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


# Interruption ---------------------------------------------------------------------------------------------------------

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


# Tools ----------------------------------------------------------------------------------------------------------------


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


async def test_result_after_a_new_connection() -> None:
    """It is sent to the new connection as a note, because that one does not know the call."""
    waits = anyio.Event()

    @tool
    async def weather(city: str) -> str:
        await waits.wait()
        return "sunny"

    peer = Peer(("weather", '{"city": "Paris"}'), "It is sunny.")
    async with session(peer.model(tools=[weather])) as harness:
        await harness.send(UserText(text="What is the weather in Paris?"))
        await anyio.sleep(1)
        await peer.close()
        await anyio.sleep(2)
        waits.set()
        await harness.next(Audio, within_seconds=30)
        assert written(peer)[1:] == [
            ("USER", "What is the weather in Paris?"),
            ("USER", '[weather {"city": "Paris"}: sunny]'),
        ]
        await harness.session.cancel()
    assert not peer.faults


# Connections ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_session_is_replaced_before_its_limit() -> None:
    """In a pause after six minutes, with the conversation as it was heard. The user's words are not lost."""
    peer = Peer("Good morning.", "It is sunny.")
    model = peer.model(instructions="Be brief.")
    async with session(model) as harness:
        await harness.send(UserText(text="Hello."))
        await anyio.sleep(359)
        assert len(peer.sessions) == 1
        await anyio.sleep(5)
        assert len(peer.sessions) == 2
        gone = next(frame for frame in harness.of(Disconnected))
        assert (gone.clean, gone.final) == (True, False)
        assert [frame.reconnected for frame in harness.of(Connected)] == [False, True]
        await say(harness)
        await anyio.sleep(20)
        assert "".join(frame.text for frame in harness.of(Text)) == "Good morning.It is sunny."
        assert written(peer) == [("SYSTEM", "Be brief."), ("USER", "Hello."), ("ASSISTANT", "Good morning.")]
        await anyio.sleep(700)
        assert peer.limits == 0
        await harness.session.cancel()
    assert not peer.faults
    assert all(each.ended for each in peer.sessions), "the old one is told the end"


async def test_no_replacement_while_the_user_speaks() -> None:
    """A detector above reports the speech, because the model does not."""
    peer = Peer("Yes?")
    async with session(peer.model()) as harness:
        await harness.send(SpeechStarted())
        await anyio.sleep(400)
        assert len(peer.sessions) == 1
        await harness.send(SpeechStopped())
        await anyio.sleep(5)
        assert len(peer.sessions) == 2
        await harness.session.cancel()


@pytest.mark.slow
async def test_session_without_a_pause() -> None:
    """It is replaced just before its limit."""
    peer = Peer("word " * 1000, pace=2.0)
    async with Harness(peer.model()) as harness:
        await harness.send(UserText(text="Talk."))
        await anyio.sleep(500)
        assert len(peer.sessions) == 2
        assert peer.limits == 0
        assert 470 < next(at for at, frame in harness.timeline if isinstance(frame, Disconnected)) < 480
        await harness.session.cancel()


async def test_history_is_fitted_to_the_service() -> None:
    """The user first, then alternating; tool results as notes; the newest entries; none too long."""
    history = History()
    history.assistant("Welcome!", "a0", "r0")
    for at in range(60):
        history.user(f"question {at}", f"u{at}")
        history.user("and another", f"v{at}")
        history.assistant(f"answer {at}", f"a{at}", f"r{at}")
    history.user("ü" * 2000, "long")
    history.call("c1", "weather", '{"city": "Paris"}', "r")
    history.result("c1", "sunny")
    peer = Peer(reads=False)
    async with session(peer.model("amazon.nova-sonic-v1:0", history=history)) as harness:
        await anyio.sleep(1)
        told = written(peer)[1:]
        assert len(told) <= 40
        assert told[0] == ("USER", "question 41\nand another")
        assert told[-2] == ("ASSISTANT", "answer 59")
        assert len(told[-1][1].encode()) <= 1000
        assert told[-1][1].endswith('ü\n[weather {"city": "Paris"}: sunny]')
        await harness.session.cancel()
    assert not peer.faults


@pytest.mark.parametrize("kind", ["throttlingException", "modelStreamErrorException", "internalServerException"])
async def test_passing_failures(kind: str) -> None:
    """The connection is made again after a wait, and the question is sent again."""
    peer = Peer("Yes?")
    peer.throws = [(kind, "System instability")] * 3
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Hello."))
        await harness.next(Audio, within_seconds=60)
        assert len(peer.sessions) == 4
        failures = [frame.message for frame in harness.of(Failure)]
        assert failures == [f"Nova 2 Sonic: {kind}: System instability"] * 3
        assert not any(frame.fatal for frame in harness.of(Failure))
        await harness.session.cancel()


async def test_wrong_request_is_final() -> None:
    """It would be wrong again, so it is final, with the service's words."""
    peer = Peer()
    peer.throws = [("validationException", "no such voice")]
    with pytest.raises(RealtimeError, match="validationException: no such voice"):
        async with session(peer.model()) as harness:
            assert (await harness.next(Failure, within_seconds=5)).fatal
            await anyio.sleep(5)
    assert len(peer.sessions) == 1


async def test_failure_after_a_working_session() -> None:
    """It may succeed on another connection, so it is tried again."""
    peer = Peer("Yes?", "Again?")
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Hello."))
        await harness.next(ResponseEnded, within_seconds=30)
        await peer.session.raw(exception("validationException", "something about a tool"))
        await harness.next(Disconnected, within_seconds=5)
        await harness.send(UserText(text="Hello?"))
        await harness.next(ResponseStarted, within_seconds=30)
        await harness.session.cancel()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, "ExpiredTokenException: The security token included in the request is expired", "is expired"),
        (403, "AccessDeniedException: You don't have access to the model", "the key may not do this"),
        (404, "ResourceNotFoundException: no such model", "there is no such model"),
        (400, "ValidationException: the model id is invalid", "it does not accept the request"),
    ],
)
async def test_final_refusals(status: int, body: str, says: str) -> None:
    """There is one attempt only."""
    peer = Peer()
    peer.refuse = [SocketRefusedError(f"it answers {status}", status, body) for _ in range(2)]
    with pytest.raises(RealtimeError, match=says):
        async with session(peer.model()):
            await anyio.sleep(60)
    assert len(peer.endpoints) == 1


async def test_too_many_requests() -> None:
    """It is tried again later, as often as the policy says."""
    peer = Peer("Yes?")
    peer.refuse = [SocketRefusedError("it answers 429", 429, "ThrottlingException: slow down") for _ in range(3)]
    async with session(peer.model()) as harness:
        await harness.send(UserText(text="Hello."))
        await harness.next(Audio, within_seconds=60)
        assert len(peer.endpoints) == 4
        assert "ThrottlingException: slow down" in harness.of(Disconnected)[0].reason
        await harness.session.cancel()
    peer.refuse = [SocketRefusedError("it answers 429", 429, "") for _ in range(9)]
    with pytest.raises(RealtimeError, match="given up after 3 attempts"):
        async with session(peer.model(reconnect=ReconnectPolicy(max_attempts=2))):
            await anyio.sleep(60)


async def test_unreadable_messages() -> None:
    """Damaged messages, nonsense in valid ones and unknown events are reported and skipped."""
    peer = Peer("Yes?")
    async with session(peer.model()) as harness:
        await harness.next(Connected)
        good = chunk("textOutput", contentId="x", role="USER", content="?")
        await peer.session.raw(good[:-1] + bytes([good[-1] ^ 1]))
        await peer.session.raw(chunk("audioOutput", contentId="x", content="no base64!"))
        await peer.session.raw(chunk("contentStart", contentId=7))
        await peer.session.raw(chunk("dreamStart", contentId="x"))
        await peer.session.raw(chunk("audioOutput", contentId="never begun", content="AAAA"))
        await peer.session.raw(chunk("contentEnd", contentId="never begun", stopReason="END_TURN"))
        await harness.send(UserText(text="Hello."))
        await harness.next(Audio, within_seconds=30)
        assert len(harness.of(Failure)) == 3
        assert len(peer.sessions) == 1
        await harness.session.cancel()


async def test_settings_change_with_the_next_session() -> None:
    """The next session begins in the next pause."""
    peer = Peer("Yes?")
    async with session(peer.model(instructions="Be brief.")) as harness:
        await harness.next(Connected)
        await harness.send(Configure(instructions="Be long."))
        await anyio.sleep(5)
        assert [written(peer, at)[0][1] for at in range(2)] == ["Be brief.", "Be long."]
        await harness.session.cancel()


# What it cannot do ----------------------------------------------------------------------------------------------------


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
