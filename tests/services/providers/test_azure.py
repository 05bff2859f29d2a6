"""Azure: OpenAI's models in both dialects, and Voice Live; what is sent, and conversations with local peers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from bargein.pipeline import Audio, Failure, ResponseEnded, ResponseStarted, Text, ToolCall, UserText
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Spoken, Timing
from bargein.services.frames import Connected, Disconnected, Say, ToolFinished
from bargein.services.providers.azure import (
    AZURE,
    AZURE_BETA,
    BETA_VERSION,
    VOICE_LIVE,
    AzureRealtime,
    VoiceLive,
    VoiceLiveProtocol,
)
from bargein.services.providers.openai import Dialect
from bargein.services.providers.openai.server.serve import Faults, serve
from bargein.services.realtime import Realtime, RealtimeError, ReconnectPolicy, Settings, UnsupportedError
from bargein.services.testing import ScriptedBrain
from bargein.services.tools import tool
from tests.services.piped import piped

NAME = "https://name.openai.azure.com"
LIVE = "https://name.services.ai.azure.com"


def opening(model: Realtime) -> dict[str, Any]:
    """The session object that a model sends."""
    (message,) = model._protocol().open_session(model.settings)
    session: dict[str, Any] = json.loads(message)["session"]
    return session


# What is sent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "url"),
    [
        (
            AzureRealtime("my deployment", NAME, api_key="k"),
            "wss://name.openai.azure.com/openai/v1/realtime?model=my%20deployment",
        ),
        (
            AzureRealtime("d", NAME + "/", api_key="k", api_version=BETA_VERSION),
            "wss://name.openai.azure.com/openai/realtime?api-version=2024-10-01-preview&deployment=d",
        ),
        (
            VoiceLive("gpt-realtime", LIVE, api_key="k"),
            "wss://name.services.ai.azure.com/voice-live/realtime?api-version=2026-04-10&model=gpt-realtime",
        ),
    ],
)
def test_where_it_connects(model: Realtime, url: str) -> None:
    """Each at its own address, with the key as Azure wants it."""
    endpoint = model._protocol().endpoint()
    assert (endpoint.url, dict(endpoint.headers)) == (url, {"api-key": "k"})  # type: ignore[union-attr]


async def test_a_token_is_asked_for_each_connection() -> None:
    """No key is needed then."""
    tokens = iter(("one", "two"))

    async def token() -> str:
        return next(tokens)

    model = VoiceLive("m", LIVE, token=token)
    for expected in ("one", "two"):
        endpoint = await model._protocol().endpoint()  # type: ignore[misc]
        assert dict(endpoint.headers) == {"Authorization": f"Bearer {expected}"}


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the environment will do."""
    for name in ("AZURE_OPENAI_API_KEY", "AZURE_VOICELIVE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="AZURE_OPENAI_API_KEY"):
        AzureRealtime("d", NAME)
    with pytest.raises(ValueError, match="AZURE_VOICELIVE_API_KEY"):
        VoiceLive("m", LIVE)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k")
    AzureRealtime("d", NAME)


def test_the_beta_of_azure() -> None:
    """The flat session of before, and what the user gives besides in its own words."""
    model = AzureRealtime(
        "d",
        NAME,
        api_key="k",
        api_version=BETA_VERSION,
        voice="alloy",
        audio="audio/pcmu",
        extra={"temperature": 0.7},
        output="text",
    )
    assert (model.profile.input_rate, model.profile.output_rate) == (8000, 8000)
    assert opening(model) == {
        "instructions": "",
        "modalities": ["text"],
        "voice": "alloy",
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "g711_ulaw",
        "turn_detection": {"type": "server_vad"},
        "tools": [],
        "temperature": 0.7,
    }


def test_all_of_voice_live() -> None:
    """Each setting of its own in its place."""
    model = VoiceLive(
        "gpt-realtime",
        LIVE,
        api_key="k",
        instructions="Be brief.",
        voice="en-US-AvaNeural",
        input_rate=16_000,
        turn_detection={"type": "azure_semantic_vad", "speech_duration_ms": 80},
        transcription={"model": "azure-speech", "phrase_list": ["Bargein"]},
        noise_reduction="azure_deep_noise_suppression",
        echo_cancellation="server_echo_cancellation",
        auto_truncate=True,
    )
    assert opening(model) == {
        "instructions": "Be brief.",
        "modalities": ["text", "audio"],
        "voice": {"type": "azure-standard", "name": "en-US-AvaNeural"},
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_sampling_rate": 16_000,
        "turn_detection": {"type": "azure_semantic_vad", "speech_duration_ms": 80, "auto_truncate": True},
        "input_audio_transcription": {"model": "azure-speech", "phrase_list": ["Bargein"]},
        "input_audio_noise_reduction": {"type": "azure_deep_noise_suppression"},
        "input_audio_echo_cancellation": {"type": "server_echo_cancellation"},
        "output_audio_timestamp_types": ["word"],
        "tools": [],
    }
    assert model.profile.input_rate == 16_000
    assert not model.profile.supports_truncation, "the server does it by itself"


@pytest.mark.parametrize(
    ("voice", "sent"),
    [
        ("alloy", {"type": "openai", "name": "alloy"}),
        ("de-DE-SeraphinaMultilingualNeural", {"type": "azure-standard", "name": "de-DE-SeraphinaMultilingualNeural"}),
    ],
)
def test_voices_of_voice_live(voice: str, sent: dict[str, str]) -> None:
    """They are chosen by name. A voice of another kind is an object in the session."""
    ours = VoiceLiveProtocol(url="wss://example.invalid", headers={}, dialect=VOICE_LIVE)
    assert ours.session(Settings(model="m", voice=voice))["voice"] == sent
    custom = {"voice": {"type": "azure-custom", "name": "Mine", "endpoint_id": "e"}}
    assert ours.session(Settings(model="m", voice=voice, extra=custom))["voice"] == custom["voice"]


def test_word_timestamps_are_asked_for() -> None:
    """Where the voice has them, and where they are wanted; not where they are not."""
    for voice, wanted, sent in (
        ("alloy", None, False),
        (None, None, False),
        ("en-US-AvaNeural", None, True),
        ("en-US-AvaNeural", False, False),
        ("alloy", True, True),
    ):
        session = opening(VoiceLive("m", LIVE, api_key="k", voice=voice, word_timestamps=wanted))
        assert ("output_audio_timestamp_types" in session) == sent


def test_what_cannot_be_is_refused() -> None:
    """Before anything is sent, with what to use instead."""
    with pytest.raises(ValueError, match="expected 16000 or 24000"):
        VoiceLive("m", LIVE, api_key="k", input_rate=8000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="azure_semantic_vad"):
        VoiceLive("m", LIVE, api_key="k", turn_detection="semantic_vad")
    with pytest.raises(ValueError, match="auto_truncate"):
        VoiceLive("m", LIVE, api_key="k", turn_detection=None, auto_truncate=True)
    with pytest.raises(UnsupportedError, match="Azure Voice Live cannot do images"):
        VoiceLive("m", LIVE, api_key="k").profile.require("supports_images", "images")


# In conversation ------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_words_are_timed() -> None:
    """Each word's time comes out, and what was heard is exact where an estimate would be wrong."""
    words = "A considerably longwinded sentence of I a at on it"
    brain = ScriptedBrain(words, word_ms=400, timed=True)
    async with piped(lambda: brain, VOICE_LIVE) as peer:
        model = VoiceLive("m", LIVE, api_key="k", voice="en-US-AvaNeural", connect=peer.connect)
        async with Harness(model, Spoken(), Pacer()) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(1.7)
            harness.interrupt()
            await anyio.sleep(2)
            timings = harness.of(Timing)
            assert [(each.text, each.start_ms, each.end_ms) for each in timings[:2]] == [
                ("A", 0, 400),
                ("considerably", 400, 800),
            ]
            (heard,) = [frame.text for frame in harness.of(Heard) if frame.done]
            assert heard.strip() == "A considerably longwinded sentence"
            (kept,) = [entry.remembered for entry in model.history if entry.role == "assistant"]
            assert kept.strip() == "A considerably longwinded sentence"
            (cut,) = peer.of("conversation.item.truncate")
            assert 1600 <= cut["audio_end_ms"] <= 1800
            await harness.session.cancel()


@pytest.mark.virtual
async def test_say_is_said() -> None:
    """Word for word, behind what is being said; and then it answers as before."""
    async with piped(lambda: ScriptedBrain("An answer.", paced=True), VOICE_LIVE) as peer:
        model = VoiceLive("m", LIVE, api_key="k", connect=peer.connect)
        async with Harness(model) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await harness.send(Say(text="Welcome to the shop.", protected=True), UserText(text="Thanks."))
            await harness.end()
        assert "".join(frame.text for frame in harness.of(Text)) == "An answer.Welcome to the shop.An answer."
        assert [frame.protected for frame in harness.of(ResponseStarted)] == [False, True, False]
        asked = [event.get("response") or {} for event in peer.of("response.create")]
        said = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Welcome to the shop."}]}
        assert [each.get("pre_generated_assistant_message") for each in asked] == [None, said, None]
        assert not harness.of(Failure)


@pytest.mark.virtual
async def test_a_server_that_truncates_by_itself_is_not_told() -> None:
    """The history is, all the same."""
    brain = ScriptedBrain("word " * 50, word_ms=400)
    async with piped(lambda: brain, VOICE_LIVE) as peer:
        model = VoiceLive("m", LIVE, api_key="k", auto_truncate=True, connect=peer.connect)
        async with Harness(model, Spoken(), Pacer()) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(1.5)
            harness.interrupt()
            await anyio.sleep(2)
            assert not peer.of("conversation.item.truncate") + peer.of("conversation.item.delete")
            (kept,) = [entry.remembered for entry in model.history if entry.role == "assistant"]
            assert 1 <= len(kept.split()) <= 5
            await harness.session.cancel()


@pytest.mark.virtual
async def test_the_beta_asks_in_its_own_words() -> None:
    """Requests without metadata, tools run, and no event of the beta is misunderstood."""

    @tool
    async def weather(city: str) -> str:
        return "sunny"

    brain = ScriptedBrain([ToolCall(call_id="", name="weather", arguments='{"city": "Rome"}')], "It is sunny.")
    async with piped(lambda: brain, AZURE_BETA) as peer:
        model = AzureRealtime("d", NAME, api_key="k", api_version=BETA_VERSION, tools=[weather], connect=peer.connect)
        async with Harness(model) as harness:
            await harness.send(UserText(text="How is the weather?"))
            while "".join(frame.text for frame in harness.of(Text)).strip() != "It is sunny.":
                await harness.next(Text, within_seconds=10)
            assert [frame.output for frame in harness.of(ToolFinished)] == ["sunny"]
            assert not harness.of(Failure)
            assert all(set(event) <= {"type", "event_id"} for event in peer.of("response.create"))
            (connected,) = harness.of(Connected)
            assert connected.config["modalities"] == ["text", "audio"]
            await harness.session.cancel()


@pytest.mark.virtual
async def test_a_transcription_that_is_not_deployed() -> None:
    """Each turn says so, and is answered all the same."""
    failed = {
        "type": "conversation.item.input_audio_transcription.failed",
        "item_id": "u",
        "error": {"type": "invalid_request_error", "code": "DeploymentNotFound", "message": "no such deployment"},
    }

    def change(event: dict[str, Any]) -> list[dict[str, Any]]:
        return [failed, event] if event["type"] == "response.created" else [event]

    async with piped(lambda: ScriptedBrain("Hello."), AZURE, change=change) as peer:
        async with Harness(AzureRealtime("d", NAME, api_key="k", connect=peer.connect)) as harness:
            await harness.send(UserText(text="hello"))
            ended = await harness.next(ResponseEnded, within_seconds=10)
            assert ended.outcome == "completed"
            (failure,) = harness.of(Failure)
            assert "could not be transcribed: no such deployment" in failure.message
            assert not failure.fatal
            await harness.session.cancel()


# Over real sockets ----------------------------------------------------------------------------------------------------

WIRES: dict[str, tuple[Dialect, Callable[..., Realtime]]] = {
    "GA": (AZURE, partial(AzureRealtime, "m")),
    "beta": (AZURE_BETA, partial(AzureRealtime, "m", api_version=BETA_VERSION)),
    "Voice Live": (VOICE_LIVE, partial(VoiceLive, "m")),
}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", WIRES)
def test_over_a_socket(backend: str, name: str) -> None:
    """With its key and at its path it is answered; with another key it is told why not."""
    dialect, make = WIRES[name]

    async def talk() -> None:
        async with serve(lambda: ScriptedBrain("Hello."), dialect=dialect, api_keys={"key"}) as server:
            async with make(server.url, api_key="key").connect() as conversation:
                await conversation.send_text("hello")
                words = ""
                async for event in conversation:
                    words += event.text if isinstance(event, Text) else ""
                    if isinstance(event, ResponseEnded):
                        break
                assert words == "Hello."
            with pytest.raises(RealtimeError, match="the key is not accepted"):
                async with make(server.url, api_key="other").connect():
                    pass

    async def within() -> None:
        with anyio.fail_after(60):
            await talk()

    anyio.run(within, backend=backend)


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize(
    "faults", [Faults(expire_after_seconds=20), Faults(close_after_events=11)], ids=["expiry", "cut"]
)
@pytest.mark.virtual
async def test_sessions_that_end(name: str, faults: Faults) -> None:
    """At their limit, or without a goodbye: the conversation continues over the next, which is told the words so
    far."""
    dialect, make = WIRES[name]
    async with piped(lambda: ScriptedBrain("Hello."), dialect, faults=faults) as peer:
        policy = ReconnectPolicy(first_seconds=0.1, renew_seconds=0)
        async with Harness(make(NAME, api_key="k", connect=peer.connect, reconnect=policy)) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Disconnected, within_seconds=60)
            await harness.next(Connected, within_seconds=60)
            await anyio.sleep(1)
            (first, second) = peer.of("session.update")
            after = peer.sent[peer.sent.index(second, 1) :]
            items = [event["item"] for event in after if event["type"] == "conversation.item.create"]
            assert items[0]["content"][0] == {"type": "input_text", "text": "hello"}
            assert first["session"] == second["session"]
            assert not [frame for frame in harness.of(Failure) if frame.fatal]
            await harness.session.cancel()


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize(
    "faults",
    [
        Faults(late_deltas_after_cancel=3, late_deltas_after_done=3, malformed_json=True, unknown_events=True),
        Faults(delta_before_created=True, split_deltas=3, duplicate_speech_started=True),
        Faults(error_events=("rate_limit_exceeded", "server_error")),
    ],
    ids=["late and malformed", "out of order", "throttled"],
)
@pytest.mark.virtual
async def test_faults(name: str, faults: Faults) -> None:
    """Whatever goes wrong on the way, the conversation continues, and nothing stale is heard after an interrupt."""
    dialect, make = WIRES[name]
    brain = ScriptedBrain("word " * 40, "Yes.", paced=True)
    async with piped(lambda: brain, dialect, faults=faults) as peer:
        model = make(NAME, api_key="k", connect=peer.connect, reconnect=ReconnectPolicy(max_attempts=0))
        async with Harness(model, Spoken(), Pacer()) as harness:
            await harness.send(UserText(text="hello"))
            await harness.next(Audio, within_seconds=10)
            await anyio.sleep(1)
            number = harness.interrupt()
            came = len(harness.frames)
            await harness.send(UserText(text="stop"))
            await anyio.sleep(10)
            after = [frame for frame in harness.frames[came:] if isinstance(frame, Audio)]
            assert after
            assert all(frame.epoch >= number for frame in after)
            assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted", "completed"]
            await harness.session.cancel()
