"""GeminiLive against a scripted server: sound, pictures, text, tools and keys."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bargein.pipeline import Audio, Text, ToolCall, Transcript, UserText, Video
from bargein.pipeline.testing import Harness, framed, silence, tone
from bargein.services.frames import Connected, Disconnected, ToolFinished
from bargein.services.history import History
from bargein.services.providers.gemini import GeminiLive
from bargein.services.realtime import RealtimeError, ReconnectPolicy, UnsupportedError
from bargein.services.testing import ScriptedGemini
from bargein.services.tools import tool

from .session_kit import STORY, VOICE, model, said, session, until

pytestmark = pytest.mark.virtual


async def test_paused_source() -> None:
    """The user mutes after a question: the server is told of the pause, and answers at once."""
    peer = ScriptedGemini("Certainly.", hears=["may I"])
    async with session(model(peer)) as harness:
        await harness.next(Connected)
        for frame in framed(tone(300, 1000, rate=16_000), rate=16_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert said(harness, (await until(harness)).response_id) == "Certainly."
        assert peer.find_sent("realtime_input", "audioStreamEnd") == [True]
        await harness.session.cancel()


async def test_video_is_sampled() -> None:
    """`fps` pictures of a video are sent in each second."""
    peer = ScriptedGemini()
    async with session(model(peer, fps=2)) as harness:
        await harness.next(Connected)
        for at in range(50):
            await harness.send(Video(data=b"jpeg", format="jpeg", pts=at * 100_000_000))
        await anyio.sleep(1)
        pictures = peer.find_sent("realtime_input", "video")
        assert 9 <= len(pictures) <= 11
        assert {picture["mimeType"] for picture in pictures} == {"image/jpeg"}
        await harness.session.cancel()


async def test_text_output() -> None:
    """The reply is text, for another voice."""
    peer = ScriptedGemini("Good morning to you.")
    async with Harness(model(peer, output="text")) as harness:
        await harness.send(UserText(text="hello"))
        ended = await until(harness)
        assert said(harness, ended.response_id) == "Good morning to you."
        assert harness.of(Text)[-1].final
        assert harness.of(Audio) == []
        assert peer.find_sent("setup", "generationConfig", "responseModalities") == [["TEXT"]]
        await harness.session.cancel()


async def test_newer_models() -> None:
    """They get text as realtime input, and no audio while a call is unanswered."""
    peer = ScriptedGemini([ToolCall(call_id="", name="clock", arguments="{}")], "Noon.")

    @tool
    async def clock() -> str:
        await anyio.sleep(1)
        return "noon"

    async with session(model(peer, model="gemini-3.1-flash-live-preview", tools=[clock])) as harness:
        await harness.send(UserText(text="what time is it?"))
        for frame in framed(silence(3000, rate=16_000), rate=16_000):
            await harness.send(frame)
            await anyio.sleep(0.02)
        assert said(harness, (await until(harness)).response_id) == "Noon."
        assert peer.find_sent("realtime_input", "text") == ["what time is it?"]
        assert harness.of(Disconnected) == []
        assert len(peer.find_sent("realtime_input", "audio")) == 150, "what waited was sent"
        await harness.session.cancel()


async def test_two_models_with_one_history() -> None:
    """They run one after the other. The entries of the first stay as they were."""
    history = History()
    for question, answer in (("Who?", "I."), ("Where?", "Here.")):
        peer = ScriptedGemini(answer, hears=[question])
        async with session(model(peer, history=history)) as harness:
            await harness.next(Connected)
            await harness.play(list(framed(VOICE, rate=16_000)))
            await until(harness)
            await anyio.sleep(1)
            await harness.session.cancel()
    assert [entry.text for entry in history] == ["Who?", "I.", "Where?", "Here."]


async def test_tool_cancelled_by_an_interrupt() -> None:
    """A model that gets no audio while it waits is sent that no answer comes. Then it gets audio again."""

    @tool(cancellable=True)
    async def look() -> str:
        """Look."""
        await anyio.sleep(100)
        return "nothing"

    peer = ScriptedGemini([ToolCall(call_id="", name="look")], "Yes?", hears=["Hello?"])
    async with session(model(peer, model="gemini-3.1-flash-live-preview", tools=[look])) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="Look!"))
        await harness.next(ToolCall)
        harness.interrupt()
        await anyio.sleep(5)
        answered = [each["tool_response"] for each in peer.received if "tool_response" in each]
        assert len(answered) == 1
        assert "called off" in answered[0]["functionResponses"][0]["response"]["output"]
        assert len(harness.of(ToolFinished)) == 1
        await harness.play(list(framed(VOICE, rate=16_000)))
        assert (await harness.next(Transcript)).text == "Hello?"
        await harness.session.cancel()


async def test_withdrawal_of_a_cancelled_call() -> None:
    """The call has ended already, and that is reported once."""

    @tool(cancellable=True)
    async def look() -> str:
        """Look."""
        await anyio.sleep(100)
        return "nothing"

    peer = ScriptedGemini([ToolCall(call_id="", name="look")], "Yes?")
    async with session(model(peer, tools=[look])) as harness:
        await harness.next(Connected)
        await harness.send(UserText(text="Look!"))
        await harness.next(ToolCall)
        harness.interrupt()
        await anyio.sleep(1)
        await harness.send(UserText(text="No, listen!"))
        await until(harness)
        assert [frame.cancelled for frame in harness.of(ToolFinished)] == [True]
        await harness.session.cancel()


async def test_withdrawn_call() -> None:
    """The user spoke, so the tool is cancelled and the call is never answered."""
    ended: list[str] = []
    peer = ScriptedGemini([ToolCall(call_id="", name="slow", arguments="{}")], "Yes?")

    @tool
    async def slow() -> str:
        try:
            await anyio.sleep(20)
        finally:
            ended.append("called off")
        return "done"

    async with session(model(peer, tools=[slow])) as harness:
        await harness.send(UserText(text="do it"))
        await harness.next(ToolCall, within_seconds=30)
        assert peer.session is not None
        await anyio.sleep(1)
        await peer.session.interrupt()
        finished = await harness.next(ToolFinished, within_seconds=5)
        assert finished.cancelled
        await anyio.sleep(30)
        assert ended == ["called off"]
        assert peer.find_sent("tool_response") == []
        await harness.send(UserText(text="well?"))
        assert said(harness, (await until(harness)).response_id) == "Yes?"
        await harness.session.cancel()


@pytest.mark.parametrize("when", ["WHEN_IDLE", "SILENT", "INTERRUPT"])
async def test_asynchronous_tools(when: Any) -> None:
    """The reply goes on, and the result is spoken of when its scheduling says so."""
    peer = ScriptedGemini(
        ["I will see to it.", ToolCall(call_id="", name="order", arguments="{}")],
        "Meanwhile, how are you?",
        "It is done.",
    )

    @tool
    async def order() -> str:
        await anyio.sleep(5)
        return "ordered"

    async with session(model(peer, tools=[order], background={"order": when})) as harness:
        await harness.send(UserText(text="order it"))
        ended = await until(harness)
        assert said(harness, ended.response_id) == "I will see to it. Meanwhile, how are you?"
        await anyio.sleep(10)
        (answer,) = peer.find_sent("tool_response", "functionResponses")
        assert answer[0]["scheduling"] == when
        assert [turn.words for turn in peer.turns[1:]] == ([] if when == "SILENT" else [["It", "is", "done."]])
        await harness.session.cancel()


async def test_question_while_a_tool_runs() -> None:
    """The question does not wait for the tool."""
    peer = ScriptedGemini(
        ["Yes.", ToolCall(call_id="", name="order", arguments="{}")], "Ordered soon.", "Blue.", "Done."
    )

    @tool
    async def order() -> str:
        await anyio.sleep(20)
        return "ordered"

    async with session(model(peer, tools=[order], background={"order": "WHEN_IDLE"})) as harness:
        await harness.send(UserText(text="order it"))
        await until(harness)
        await harness.send(UserText(text="which colour is it?"))
        assert said(harness, (await until(harness)).response_id) == "Blue."
        assert harness.of(ToolFinished) == []
        assert said(harness, (await until(harness)).response_id) == "Done."
        assert harness.of(Disconnected) == []
        await harness.session.cancel()


async def test_slow_tool_is_not_provider_silence() -> None:
    """Neither is a long reply, which the provider expects to be played."""
    peer = ScriptedGemini([ToolCall(call_id="", name="slow", arguments="{}")], " ".join([STORY] * 4))

    @tool(timeout_seconds=60)
    async def slow() -> str:
        await anyio.sleep(40)
        return "done"

    async with session(model(peer, tools=[slow])) as harness:
        await harness.send(UserText(text="do it"))
        began = anyio.current_time()
        await until(harness)
        assert anyio.current_time() - began > 60
        assert harness.of(Disconnected) == []
        await harness.session.cancel()


async def asked(peer: ScriptedGemini, **options: Any) -> Any:
    async with Harness(GeminiLive(connect=peer.connect, **options)) as harness:
        await harness.next(Connected)
        await harness.session.cancel()
    return peer.endpoints[-1]


async def test_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the argument or the environment. It is never in the address."""
    peer = ScriptedGemini()
    endpoint = await asked(peer, api_key="k1")
    assert endpoint.url == (
        "wss://generativelanguage.googleapis.com/ws/"
        "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    )
    assert endpoint.headers == {"x-goog-api-key": "k1"}
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.setenv("GOOGLE_API_KEY", "k2")
    assert (await asked(peer)).headers == {"x-goog-api-key": "k2"}
    monkeypatch.delenv("GOOGLE_API_KEY")
    with pytest.raises(ValueError, match="set GEMINI_API_KEY or GOOGLE_API_KEY"):
        GeminiLive()


async def test_ephemeral_token() -> None:
    """It goes to the constrained interface, and each connection asks for a new one."""
    given = iter(("auth_tokens/1", "auth_tokens/2"))

    async def fetch() -> str:
        await anyio.sleep(0.1)
        return next(given)

    peer = ScriptedGemini()
    async with Harness(GeminiLive(token=fetch, connect=peer.connect)) as harness:
        await harness.next(Connected)
        await peer.close(1006)
        await anyio.sleep(3)
        await harness.session.cancel()
    assert [each.headers for each in peer.endpoints] == [
        {"Authorization": "Token auth_tokens/1"},
        {"Authorization": "Token auth_tokens/2"},
    ]
    assert peer.endpoints[0].url.endswith(".v1alpha.GenerativeService.BidiGenerateContentConstrained")
    assert "auth_tokens" not in repr(peer.endpoints)


async def test_vertex() -> None:
    """The token function may block, so it runs in a thread."""
    peer = ScriptedGemini()
    options = {"project": "p", "token": lambda: "bearer", "model": "gemini-live-2.5-flash"}
    endpoint = await asked(peer, **options, location="europe-west4")
    assert endpoint.url == (
        "wss://europe-west4-aiplatform.googleapis.com/ws/"
        "google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    )
    assert endpoint.headers == {"Authorization": "Bearer bearer"}
    assert peer.find_sent("setup", "model") == [
        "projects/p/locations/europe-west4/publishers/google/models/gemini-live-2.5-flash"
    ]
    assert (await asked(peer, **options, location="global")).url.startswith("wss://aiplatform.googleapis.com/")
    with pytest.raises(ValueError, match="no token"):
        GeminiLive(project="p")


async def test_failing_token_function() -> None:
    """The token is requested again, and at last the reason is reported."""
    asks: list[int] = []

    def fetch() -> str:
        asks.append(1)
        raise OSError("the metadata server is away")

    with pytest.raises(
        RealtimeError, match="no token: OSError: the metadata server is away; given up after 2 attempts"
    ):
        async with Harness(GeminiLive(project="p", token=fetch, reconnect=ReconnectPolicy(max_attempts=1))):
            await anyio.sleep(60)
    assert len(asks) == 2


def test_unsupported_options_are_refused() -> None:
    """The error comes before anything is sent, and says what to use instead."""
    with pytest.raises(ValueError, match="expected 'WHEN_IDLE'"):
        GeminiLive(api_key="k", background={"order": "LATER"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="Gemini has server_vad"):
        GeminiLive(api_key="k", turn_detection={"type": "semantic_vad"})
    with pytest.raises(ValueError, match="characters that no key has"):
        GeminiLive(api_key="k k")
    with pytest.raises(UnsupportedError, match="say"):
        GeminiLive(api_key="k").profile.require("supports_verbatim_speech", "say()")
