"""One contract for all brains: whatever answers the user takes and gives the same frames, in the same order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Frame,
    Pipeline,
    Processor,
    ResponseEnded,
    ResponseStarted,
    Text,
    ToolCall,
    ToolResult,
    UserText,
)
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Heard, Pacer, Resample, Sentences, Spoken
from bargein.services.cascade import Cascade, Speak, ToolRequest
from bargein.services.failover import Failover
from bargein.services.frames import Configure
from bargein.services.history import History
from bargein.services.providers.azure import AZURE_BETA, BETA_VERSION, VOICE_LIVE, AzureRealtime, VoiceLive
from bargein.services.providers.gemini import GeminiLive
from bargein.services.providers.openai import GA, Faults, OpenAIRealtime
from bargein.services.providers.openai.server.serve import serve_socket
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.providers.qwen import QWEN, QwenOmni
from bargein.services.providers.rules import Rule, Rules
from bargein.services.providers.ultravox import ULTRAVOX, Ultravox
from bargein.services.providers.xai import XAI, GrokVoice
from bargein.services.realtime import Realtime, ReconnectPolicy
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.testing import ScriptedBrain, ScriptedGemini
from bargein.services.tools import tool
from tests.environment import amount
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.providers.nova.peer import Peer as NovaPeer
from tests.speech import utterances

pytestmark = pytest.mark.virtual

Reply = str | tuple[str, str]
"""Words, or the name and the arguments of a tool."""
ASKED = "What is the weather in Paris?"
STORY = "Once upon a time there was a king who had three sons and no time to listen to any of them. " * 3


@asynccontextmanager
async def _served(
    replies: list[Reply], dialect: ServerLanguage = GA, faults: Faults | None = None, **options: Any
) -> AsyncIterator[Callable[[Endpoint], Any]]:
    steps = [
        reply if isinstance(reply, str) else [ToolCall(call_id="", name=reply[0], arguments=reply[1])]
        for reply in replies
    ]
    brain = ScriptedBrain(*steps, hears=[ASKED], **options)
    async with _behind_server(brain, dialect, faults) as connect:
        yield connect


@asynccontextmanager
async def _behind_server(
    brain: Processor, dialect: ServerLanguage = GA, faults: Faults | None = None
) -> AsyncIterator[Callable[[Endpoint], Any]]:
    """Something to connect with, at whose other end there is a brain."""
    async with anyio.create_task_group() as group:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            group.start_soon(partial(serve_socket, theirs, lambda: brain, dialect=dialect, faults=faults))
            try:
                yield ours
            finally:
                await ours.close()

        yield connect
        group.cancel_scope.cancel()


class Brain:
    """A brain in a graph, and its memory."""

    def __init__(self, *steps: Processor, history: History, rate: int = 24_000) -> None:
        self.steps = steps
        self.history = history
        self.rate = rate
        """What it hears, in Hz."""


def _cascade(replies: list[Reply], tools: list[Any], *, timed: bool = True) -> Cascade:
    said = [
        [reply] if isinstance(reply, str) else [ToolRequest(name=reply[0], arguments=reply[1])] for reply in replies
    ]
    return Cascade(Ears(ASKED), Mind(*said), Voice(words=timed), tools=tools)


@asynccontextmanager
async def cascade(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    brain = _cascade(replies, tools)
    yield Brain(brain, history=brain.history)


@asynccontextmanager
async def untimed(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    """A cascade whose voice does not say when its words sound."""
    brain = _cascade(replies, tools, timed=False)
    yield Brain(brain, history=brain.history)


class Offer(Processor):
    """The application has a tool, of which it tells first of all."""

    def __init__(self, name: str) -> None:
        self.schemas: tuple[dict[str, Any], ...] = ({"type": "function", "name": name},)

    def process(self, frame: UserText) -> Iterator[UserText | Configure]:
        yield Configure(schemas=self.schemas)
        yield frame


@asynccontextmanager
async def rules(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    """A cascade whose model is a set of rules."""
    first, last = replies[0], str(replies[-1])
    if isinstance(first, str):
        made = [Rule("wait", last), Rule("{all...}", first)]
    else:
        said = f"{last}{{result:.0}}"  # whatever the result is
        asked = "what is the weather" + "".join(f" in {{{name}}}" for name in json.loads(first[1]))
        made = [Rule(asked, call=first[0], result=said)]
    brain = Cascade(Ears(ASKED), Rules(made), Voice(words=True), tools=tools)
    offers = [Offer(first[0])] if not isinstance(first, str) and not tools else []
    yield Brain(*offers, brain, history=brain.history)


@asynccontextmanager
async def behind(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    """A realtime model that is a cascade behind this project's server."""
    async with _behind_server(_cascade(replies, [])) as connect:
        brain = OpenAIRealtime(api_key="key", connect=connect, tools=tools)
        yield Brain(brain, history=brain.history)


@asynccontextmanager
async def realtime(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    async with _served(replies, word_ms=400) as connect:
        brain = OpenAIRealtime(api_key="key", connect=connect, tools=tools)
        yield Brain(brain, history=brain.history)


@asynccontextmanager
async def voiced(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    async with _served(replies, word_ms=0) as connect:
        brain = OpenAIRealtime(api_key="key", connect=connect, tools=tools, output="text")
        yield Brain(brain, Sentences(), Speak(Voice(words=True)), history=brain.history)


@asynccontextmanager
async def reserved(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    """A failover whose first brain is well."""
    async with realtime(replies, tools) as first, cascade(replies, tools) as second:
        brain = Failover(*first.steps, *second.steps)
        yield Brain(brain, history=brain.history)


@asynccontextmanager
async def rescued(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    """A failover whose first brain fails as soon as it is needed."""
    async with _served(["..."], faults=Faults(close_after_events=1)) as connect, cascade(replies, tools) as second:
        first = OpenAIRealtime(api_key="key", connect=connect, reconnect=ReconnectPolicy(max_attempts=0))
        brain = Failover(first, *second.steps)
        yield Brain(brain, history=brain.history)


@asynccontextmanager
async def gemini(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    said = [
        reply if isinstance(reply, str) else [ToolCall(call_id="", name=reply[0], arguments=reply[1])]
        for reply in replies
    ]
    peer = ScriptedGemini(*said, hears=[ASKED])
    brain = GeminiLive(api_key="key", connect=peer.connect, tools=tools)
    yield Brain(brain, history=brain.history, rate=16_000)


@asynccontextmanager
async def nova(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
    peer = NovaPeer(*replies)
    brain = peer.model(tools=tools)
    yield Brain(brain, history=brain.history, rate=16_000)
    assert not peer.faults


async def joined(told: dict[str, Any]) -> str:
    return "wss://call.invalid"


def ultravox(api_key: str, **options: Any) -> Realtime:
    return Ultravox(create_call=joined, **options)


def related(dialect: ServerLanguage, make: Callable[..., Realtime]) -> Any:
    """One whose protocol this project's server speaks, too."""

    @asynccontextmanager
    async def brain(replies: list[Reply], tools: list[Any]) -> AsyncIterator[Brain]:
        async with _served(replies, dialect, word_ms=400) as connect:
            model = make(api_key="key", connect=connect, tools=tools)
            yield Brain(model, history=model.history, rate=model.profile.input_rate)

    return brain


AZURE = "https://name.azure.com"
BRAINS = {
    "cascade": cascade,
    "cascade, words untimed": untimed,
    "cascade of rules": rules,
    "cascade behind the server": behind,
    "realtime": realtime,
    "realtime in text, with a voice": voiced,
    "Azure's beta": related(
        AZURE_BETA, partial(AzureRealtime, "d", AZURE, api_version=BETA_VERSION, transcription="whisper-1")
    ),
    "Voice Live": related(VOICE_LIVE, partial(VoiceLive, "m", AZURE, input_rate=16_000)),
    "Qwen": related(QWEN, QwenOmni),
    "Gemini": gemini,
    "Nova Sonic": nova,
    "Ultravox": related(ULTRAVOX, ultravox),
    "xAI": related(XAI, partial(GrokVoice, rate=16_000)),
    "failover": reserved,
    "failover, after a failure": rescued,
}


@pytest.fixture(params=BRAINS)
def make(request: pytest.FixtureRequest) -> Any:
    return BRAINS[request.param]


def session(brain: Brain) -> Harness:
    return Harness(Resample(brain.rate), Pipeline(*brain.steps, inputs=Frame), Spoken(), Pacer())


def words(frames: Iterable[Frame], response: str) -> str:
    return "".join(frame.text for frame in frames if isinstance(frame, Text) and frame.response_id == response).strip()


async def test_what_is_typed_is_answered(make: Any) -> None:
    """Between its boundaries, in text and sound of one response, and kept."""
    async with make(["Good morning to you."], []) as brain, session(brain) as harness:
        await harness.send(UserText(text="Hello."))
        ended = await harness.next(ResponseEnded, within_seconds=60)
        frames = [
            frame for frame in harness.frames if isinstance(frame, ResponseStarted | Text | Audio | ResponseEnded)
        ]
        assert isinstance(frames[0], ResponseStarted)
        assert frames[-1] is ended
        assert ended.outcome == "completed"
        assert {frame.response_id for frame in frames} == {ended.response_id}
        assert words(frames, ended.response_id) == "Good morning to you."
        assert sum(frame.ms for frame in harness.of(Audio)) > 500
        assert any(frame.final for frame in harness.of(Text))
        await anyio.sleep(5)
        remembered = [(entry.role, entry.remembered.strip()) for entry in brain.history.remembered]
        assert remembered == [("user", "Hello."), ("assistant", "Good morning to you.")]
        await harness.session.cancel()


@pytest.mark.slow
async def test_what_is_said_is_answered(make: Any) -> None:
    """Real speech, once its end has been heard."""
    said = np.repeat(np.concatenate([silence(800), utterances()["weather"].samples, silence(2000)]), 3)[::2]
    async with make(["It is sunny."], []) as brain, session(brain) as harness:
        await harness.play(list(framed(said, rate=24_000)))
        ended = await harness.next(ResponseEnded, within_seconds=60)
        assert words(harness.frames, ended.response_id) == "It is sunny."
        assert [entry.text for entry in brain.history if entry.role == "user"] == ["What is the weather in Paris?"]
        await harness.session.cancel()


async def test_an_interrupt_ends_it_and_the_memory_is_what_was_heard(make: Any) -> None:
    """Not a sample of the old answer comes after it; the next one does."""
    async with make([STORY, "Yes?"], []) as brain, session(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(Audio, within_seconds=60)
        await anyio.sleep(3)
        number = harness.interrupt()
        came = len(harness.timeline)
        await anyio.sleep(2)
        late = [frame for frame in harness.frames[came:] if isinstance(frame, Audio | Text)]
        assert all(frame.epoch >= number for frame in late)
        heard = next(frame.text for frame in harness.of(Heard) if frame.done)
        assert STORY.startswith(heard.strip())
        assert 2 <= len(heard.split()) <= 16
        (kept,) = [entry.remembered.strip() for entry in brain.history if entry.role == "assistant"]
        assert kept == heard.strip()
        await harness.send(UserText(text="Wait."))
        first = harness.of(ResponseStarted)[0].response_id
        ended = await harness.next(ResponseEnded, within_seconds=60)
        while ended.response_id == first:
            ended = await harness.next(ResponseEnded, within_seconds=60)
        assert words(harness.frames, ended.response_id) == "Yes?"
        await harness.session.cancel()


async def test_what_nobody_heard_is_not_remembered(make: Any) -> None:
    """Written, and interrupted before it could be spoken."""
    async with make([STORY, "Yes?"], []) as brain, session(brain) as harness:
        await harness.send(UserText(text="Tell me a story."))
        await harness.next(ResponseStarted, within_seconds=60)
        harness.interrupt()
        await anyio.sleep(3)
        assert [entry.remembered.strip() for entry in brain.history if entry.role == "assistant"] in ([], [""])
        await harness.session.cancel()


async def test_tools_are_run_and_answered(make: Any) -> None:
    """Once, and the answer follows."""
    cities: list[str] = []

    @tool
    async def weather(city: str) -> str:
        cities.append(city)
        await anyio.sleep(0.5)
        return "sunny"

    async with make([("weather", '{"city": "Paris"}'), "It is sunny."], [weather]) as brain, session(brain) as harness:
        await harness.send(UserText(text="What is the weather in Paris?"))
        await harness.next(Audio, within_seconds=60)
        await anyio.sleep(5)
        assert cities == ["Paris"]
        assert "".join(frame.text for frame in harness.of(Text)).strip() == "It is sunny."
        assert [entry.output for entry in brain.history if entry.role == "call"] == ["sunny"]
        await harness.session.cancel()


async def test_the_application_may_answer_calls(make: Any) -> None:
    """Where the brain has no tools."""
    async with make([("weather", "{}"), "It is sunny."], []) as brain, session(brain) as harness:
        await harness.send(UserText(text="What is the weather?"))
        call = await harness.next(ToolCall, within_seconds=60)
        await harness.send(ToolResult(call_id=call.call_id, output="sunny"))
        await harness.next(Audio, within_seconds=60)
        assert words(harness.frames, harness.of(Text)[0].response_id) != ""
        await harness.session.cancel()


async def test_it_ends_when_the_user_does(make: Any) -> None:
    """The last answer is given to its end."""
    async with make(["Goodbye, and thank you for calling."], []) as brain, session(brain) as harness:
        await harness.send(UserText(text="Goodbye."))
        await anyio.sleep(0.5)
        with anyio.fail_after(60):
            frames = await harness.end()
    assert "".join(frame.text for frame in frames if isinstance(frame, Text)).strip().endswith("calling.")


SAYS = "This that them. Thin thaw thud."
"""Words of the same length, so that each sounds for the same time."""
EVERY_MS = amount(111, 37)
"""How far apart the moments are at which they are interrupted: about three in each word, or ten."""


@pytest.mark.slow
async def test_at_any_millisecond_the_memory_is_what_was_released(make: Any) -> None:
    """To within one word: the answer is interrupted at moments all through it, and after its last sound."""
    async with make([SAYS] * 100, []) as brain, session(brain) as harness:

        async def answered(seconds: float) -> tuple[float, str]:
            """How much sound was released of an answer that was interrupted after so long, and what is remembered."""
            came = len(harness.timeline)
            await harness.send(UserText(text="What is there to say?"))
            name = (await harness.next(ResponseStarted, within_seconds=60)).response_id
            await harness.next(Audio, within_seconds=60)
            await anyio.sleep(seconds)
            harness.interrupt()
            await anyio.sleep(1.2)
            sound = [frame for frame in harness.frames[came:] if isinstance(frame, Audio) and frame.response_id == name]
            kept = [each.remembered for each in brain.history if each.role == "assistant" and each.response_id == name]
            return sum(frame.ms for frame in sound), "".join(kept).strip()

        whole, text = await answered(20)
        assert text == SAYS
        each = whole / len(SAYS.split())
        for ms in range(0, round(whole) + 100, EVERY_MS):
            released, text = await answered(ms / 1000)
            assert SAYS.startswith(text)
            assert abs(len(text.split()) - released // each) <= 1, f"after {ms} ms, {released} ms of it: {text!r}"
        await harness.session.cancel()
