"""A call is never dead, with any brain: while a question is open, the wait is short, announced, or a tool runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Failure,
    Frame,
    Pipeline,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    Transcript,
    UserText,
)
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness, cough, framed, silence, speech_like
from bargein.processors import BACKCHANNELS, Pacer, Resample, Spoken
from bargein.processors.words import words
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText, ToolRequest
from bargein.services.failover import Failover
from bargein.services.frames import BrainSwitched, Connected, Disconnected
from bargein.services.providers.azure import VOICE_LIVE, VoiceLive
from bargein.services.providers.openai import GA, OpenAIRealtime
from bargein.services.providers.openai.server.serve import serve_socket
from bargein.services.providers.openai.server_language import ServerLanguage
from bargein.services.providers.qwen import QWEN, QwenOmni
from bargein.services.providers.ultravox import ULTRAVOX, Ultravox
from bargein.services.providers.xai import XAI, GrokVoice
from bargein.services.realtime import Realtime, ReconnectPolicy
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.testing.rehearsal import rehearse
from tests.environment import amount
from tests.services.cascade.parts import Voice
from tests.services.upheaval import seeded

pytestmark = pytest.mark.virtual

DEAD_AIR_SECONDS = 5.0
"""Maximum time in which a question is open and nothing happens."""
THINK_SECONDS = (0.0, 0.5, 1.0, 2.0, 8.0)
"""Times that the scripted model takes for its first word. During the longest the agent asks for limit."""


class Ears(SpeechToText):
    """Hears anything: questions, backchannels, nothing; sometimes it fails."""

    def __init__(self, random: Random, failures: float) -> None:
        self.random = random
        self.failures = failures
        self.count = 0

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        async for _ in sound:
            pass
        self.count += 1
        await anyio.sleep(self.random.uniform(0, 0.5))
        if self.random.random() < self.failures:
            raise ConnectionError("the recogniser is away")
        text = self.random.choice([f"What about number {self.count}?", "No.", "Stop.", "Mhm.", "Yeah, right.", "", ""])
        if text:
            yield text


class Mind(LanguageModel):
    """Answers after a while with a few words or a tool call; sometimes it fails."""

    def __init__(self, random: Random, failures: float) -> None:
        self.random = random
        self.failures = failures

    async def answer(self, prompt: Prompt) -> AsyncIterator[str | ToolRequest]:
        await anyio.sleep(self.random.choice(THINK_SECONDS))
        what = self.random.random()
        if what < self.failures:
            raise ConnectionError("the model is away")
        if what < 0.4:
            yield ToolRequest(name="slow", arguments=f'{{"seconds": {self.random.uniform(0, 12):.1f}}}')
        else:
            for _ in range(self.random.randint(1, 5)):
                yield "These are some words of an answer. "
                await anyio.sleep(self.random.uniform(0, 0.3))


class Call:
    """One call: what the user does, and when a tool runs."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.began = 0.0  # the other times count from here, as those of a harness do
        self.busy: list[tuple[float, float]] = []  # the user speaks, or a tool runs
        self.withdrawn: list[float] = []  # interrupts by hand: the user does not want an answer any more

    async def slow(self, seconds: float) -> str:
        """Take a while."""
        began = anyio.current_time()
        try:
            await anyio.sleep(seconds)
        finally:
            self.busy.append((began - self.began, anyio.current_time() - self.began))
        return "done"

    def brain(self, *, tools: bool = False, failures: float = 0.12) -> Cascade:
        ears, mind = Ears(self.random, failures), Mind(self.random, failures)
        return Cascade(ears, mind, Voice(words=True), tools=[self.slow] if tools else [])

    async def run(self, harness: Harness) -> None:
        """Do six things in a quiet room, then listen."""
        rate, sent, self.began = 16_000, 0, anyio.current_time()
        for _ in range(6):
            kind = self.random.choice(["sound", "sound", "sound", "cough", "text", "interrupt"])
            samples = silence(self.random.uniform(300, 5000))
            if kind == "sound":
                sound = speech_like(self.random.uniform(150, 2500))
                begins = anyio.current_time() - self.began + len(samples) / rate
                self.busy.append((begins, begins + len(sound) / rate))
                samples = np.concatenate([samples, sound])
            elif kind == "cough":
                samples = np.concatenate([samples, cough(seed=self.random.randint(0, 99))])
            sent = await self.play(harness, samples, rate, sent)
            if kind == "text":
                await harness.send(UserText("And what else?"))
            elif kind == "interrupt":
                self.withdrawn.append(anyio.current_time() - self.began)
                harness.interrupt()
        await self.play(harness, silence(15_000), rate, sent)

    async def play(self, harness: Harness, samples: Samples, rate: int, sent: int) -> int:
        for frame in framed(samples, rate=rate, ms=100, start=sent):
            await harness.send(frame)
            await anyio.sleep(frame.ms / 1000)
        return sent + len(samples)

    def dead_seconds(self, harness: Harness) -> tuple[float, float]:
        """Return the longest time in which a question was open and nothing happened, and when it ended."""
        opened: list[tuple[float, bool]] = [(at, False) for at in self.withdrawn]
        alive = list(self.busy)
        started: dict[str, float] = {}
        speaking, last = 0.0, 0.0
        for at, frame in harness.timeline:
            last = at
            if isinstance(frame, UserText):
                alive.append((at, at))  # the user is not waiting, but goes on
            if isinstance(frame, UserText) or (isinstance(frame, Transcript) and frame.final and _asks(frame)):
                opened.append((at, True))
            elif isinstance(frame, ResponseStarted):
                started[frame.response_id] = at
            elif isinstance(frame, ResponseEnded) and frame.outcome != "interrupted":
                asked = max((when for when, is_open in opened if is_open), default=0.0)
                if started.get(frame.response_id, 0.0) >= asked:
                    opened.append((at, False))
            elif isinstance(frame, Disconnected | Connected | BrainSwitched):
                alive.append((at, at))
            elif isinstance(frame, Failure):
                silent = "has sent nothing" in frame.message  # the connection is given up after this time
                alive.append((at, at + ReconnectPolicy().silent_seconds * silent))
            elif isinstance(frame, Audio) and frame.response_id:
                alive.append((at, at + frame.ms / 1000))
            elif isinstance(frame, SpeechStarted):
                speaking = at
            elif isinstance(frame, SpeechStopped):
                alive.append((speaking, at))
        return _longest_gap(sorted(opened), sorted(alive), last)


def _asks(frame: Transcript) -> bool:
    return frame.speaker == "user" and not BACKCHANNELS.issuperset(words(frame.text))


def _longest_gap(
    opened: list[tuple[float, bool]], alive: list[tuple[float, float]], last: float
) -> tuple[float, float]:
    worst = (0.0, 0.0)
    until, is_open = 0.0, False
    marks = sorted([(at, 0, at, is_open) for at, is_open in opened] + [(a, 1, b, False) for a, b in alive])
    for at, is_alive, end, now_open in [*marks, (last, 0, last, False)]:
        if is_open:
            worst = max(worst, (at - until, at))
        if is_alive:
            until = max(until, end)
        else:
            until, is_open = max(until, at if now_open and not is_open else until), now_open
    return worst


class Lossy:
    """A socket whose other end forgets messages: the end of a response, its sound, or all of it.

    Args:
        socket: The socket.
        random: What is lost.
    """

    def __init__(self, socket: Socket, random: Random) -> None:
        self._socket = socket
        self._random = random
        self._lost: dict[str, str] = {}  # what is lost of each response

    async def send(self, message: str | bytes) -> None:
        await self._socket.send(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._socket.close(code, reason)

    async def receive(self) -> str | bytes:
        while True:
            message = await self._socket.receive()
            event = json.loads(message)
            name = str(event.get("response_id") or event.get("response", {}).get("id", ""))
            if event["type"] == "response.created":
                self._lost[name] = self._random.choice(["", "", "", "", "response.done", "delta", "response"])
            if not (lost := self._lost.get(name)) or lost not in event["type"]:
                return message


def served(dialect: ServerLanguage, model: Callable[..., Realtime], *, lossy: bool = False) -> Any:
    """Return what makes a realtime model, played by a cascade behind a server."""

    @asynccontextmanager
    async def make(call: Call) -> AsyncIterator[Realtime]:
        async with anyio.create_task_group() as group:

            @asynccontextmanager
            async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
                ours, theirs = pipe()
                group.start_soon(partial(serve_socket, theirs, call.brain, dialect=dialect))
                try:
                    yield Lossy(ours, call.random) if lossy else ours
                finally:
                    await ours.close()

            yield model(api_key="key", connect=connect, tools=[call.slow])
            group.cancel_scope.cancel()

    return make


def scripted(provider: str) -> Any:
    """Return what makes a model whose stand-in thinks, calls tools, and sometimes answers nothing."""

    @asynccontextmanager
    async def make(call: Call) -> AsyncIterator[Realtime]:
        answer = ["These ", "are ", "some ", "words."]
        pause = call.random.choice
        replies: list[Any] = [[pause(THINK_SECONDS), *answer] for _ in range(6)] + [[25.0, *answer], []]
        replies += [[ToolCall(call_id="", name="slow", arguments=pause(['{"seconds": 1}', '{"seconds": 12}']))]] * 2
        call.random.shuffle(replies)
        async with rehearse(provider, *replies, hears=["What about this?", "No.", "Stop."], tools=[call.slow]) as model:
            yield model

    return make


@asynccontextmanager
async def cascade(call: Call) -> AsyncIterator[Processor]:
    yield call.brain(tools=True)


@asynccontextmanager
async def failover(call: Call) -> AsyncIterator[Processor]:
    async with served(GA, OpenAIRealtime, lossy=True)(call) as first:
        yield Failover(first, lambda: call.brain(tools=True, failures=0.0))  # a call ends if no brain is left


@asynccontextmanager
async def failover_of_cascades(call: Call) -> AsyncIterator[Processor]:
    second = partial(call.brain, tools=True, failures=0.0)
    yield Failover(lambda: call.brain(tools=True), lambda: second().options(name="reserve"))


AZURE = "https://name.azure.com"
BRAINS: dict[str, Any] = {
    "cascade": cascade,
    "failover": failover,
    "failover of cascades": failover_of_cascades,
    "OpenAI": served(GA, OpenAIRealtime),
    "OpenAI, lossy": served(GA, OpenAIRealtime, lossy=True),
    "Voice Live": served(VOICE_LIVE, partial(VoiceLive, "m", AZURE, input_rate=16_000), lossy=True),
    "Qwen": served(QWEN, QwenOmni, lossy=True),
    "Ultravox": served(ULTRAVOX, lambda api_key, **options: Ultravox(create_call=_create_call, **options)),
    "xAI": served(XAI, partial(GrokVoice, rate=16_000), lossy=True),
    "Gemini": scripted("Gemini"),
    "Nova Sonic": scripted("Nova Sonic"),
}


async def _create_call(call: dict[str, Any]) -> str:
    return "wss://call.invalid"


@pytest.mark.slow
@pytest.mark.parametrize("brain", BRAINS)
async def test_no_question_is_left_in_silence(brain: str) -> None:
    """Random noises, coughs, words, tool lengths, failures, lost messages and interrupts."""

    async def converse(seed: int) -> None:
        call = Call(seed)
        async with BRAINS[brain](call) as made:
            rate = made.profile.input_rate if isinstance(made, Realtime) else 16_000
            async with Harness(Resample(rate), Pipeline(made, inputs=Frame), Spoken(), Pacer()) as harness:
                await call.run(harness)
                dead, at = call.dead_seconds(harness)
                await harness.session.cancel()
        assert dead <= DEAD_AIR_SECONDS, f"nothing happened for {dead:.1f} s, until {at:.1f} s"

    first = list(BRAINS).index(brain)
    await seeded(converse, range(first, first + amount(1, 40)))
