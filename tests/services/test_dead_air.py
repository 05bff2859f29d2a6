"""A call is never dead: while a question is open, somebody speaks or a tool runs, or the wait is short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import anyio
import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    UserText,
)
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness, cough, framed, silence, speech_like
from bargein.processors import BACKCHANNELS, Pacer, Spoken
from bargein.processors.words import words
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText, ToolRequest
from bargein.services.providers.openai import OpenAIRealtime
from bargein.services.providers.openai.server.serve import serve_socket
from bargein.services.sockets import Endpoint, Socket, pipe
from tests.environment import amount
from tests.services.cascade.parts import Voice
from tests.services.upheaval import seeded

pytestmark = pytest.mark.virtual

DEAD_AIR_SECONDS = 5.0
"""Maximum time in which a question is open and nothing happens."""
THINK_SECONDS = (0.0, 0.5, 1.0, 2.0, 8.0)
"""Times that the scripted model takes for its first word. During the longest the agent asks for patience."""


class Ears(SpeechToText):
    """Hears anything: questions, backchannels, nothing; sometimes it fails."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.count = 0

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        async for _ in sound:
            pass
        self.count += 1
        await anyio.sleep(self.random.uniform(0, 0.5))
        if self.random.random() < 0.1:
            raise ConnectionError("the recogniser is away")
        text = self.random.choice([f"What about number {self.count}?", "No.", "Stop.", "Mhm.", "Yeah, right.", "", ""])
        if text:
            yield text


class Mind(LanguageModel):
    """Answers after a while with a few words or a tool call; sometimes it fails."""

    def __init__(self, random: Random) -> None:
        self.random = random

    async def answer(self, prompt: Prompt) -> AsyncIterator[str | ToolRequest]:
        await anyio.sleep(self.random.choice(THINK_SECONDS))
        what = self.random.random()
        if what < 0.15:
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
        self.busy: list[tuple[float, float]] = []
        self.withdrawn: list[float] = []  # interrupts by hand: the user does not want an answer any more

    async def slow(self, seconds: float) -> str:
        """Take a while."""
        began = anyio.current_time()
        try:
            await anyio.sleep(seconds)
        finally:
            self.busy.append((began - self.began, anyio.current_time() - self.began))
        return "done"

    def brain(self, *, tools: bool = False) -> Cascade:
        return Cascade(Ears(self.random), Mind(self.random), Voice(words=True), tools=[self.slow] if tools else [])

    async def run(self, harness: Harness) -> None:
        """Do eight things in a quiet room, then listen."""
        rate, sent, self.began = 16_000, 0, anyio.current_time()
        for _ in range(8):
            kind = self.random.choice(["sound", "sound", "sound", "cough", "text", "interrupt"])
            samples = silence(self.random.uniform(300, 5000))
            if kind == "sound":
                samples = np.concatenate([samples, speech_like(self.random.uniform(150, 2500))])
            elif kind == "cough":
                samples = np.concatenate([samples, cough(seed=self.random.randint(0, 99))])
            sent = await self.play(harness, samples, rate, sent)
            if kind == "text":
                await harness.send(UserText("And what else?"))
            elif kind == "interrupt":
                self.withdrawn.append(anyio.current_time() - self.began)
                harness.interrupt()
        await self.play(harness, silence(25_000), rate, sent)

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


@asynccontextmanager
async def cascade(call: Call) -> AsyncIterator[Processor]:
    yield call.brain(tools=True)


@asynccontextmanager
async def realtime(call: Call) -> AsyncIterator[Processor]:
    """A realtime model, played by a cascade behind a server."""
    async with anyio.create_task_group() as group:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            group.start_soon(partial(serve_socket, theirs, call.brain))
            try:
                yield ours
            finally:
                await ours.close()

        yield OpenAIRealtime(api_key="key", connect=connect, tools=[call.slow])
        group.cancel_scope.cancel()


@pytest.mark.parametrize("make", [cascade, realtime])
async def test_no_question_is_left_in_silence(make: object) -> None:
    """Random noises, coughs, words, tool lengths, failures and interrupts."""

    async def converse(seed: int) -> None:
        call = Call(seed)
        async with make(call) as brain:  # type: ignore[operator]
            steps = [brain, Spoken(), Pacer()]
            async with Harness(*steps) as harness:
                await call.run(harness)
                dead, at = call.dead_seconds(harness)
                await harness.session.cancel()
        assert dead <= DEAD_AIR_SECONDS, f"nothing happened for {dead:.1f} s, until {at:.1f} s"

    await seeded(converse, range(amount(6, 60)))
