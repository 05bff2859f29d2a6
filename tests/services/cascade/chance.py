"""A call in which everything happens at once: parts that do what a seed says, and a user who does as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Any

import anyio
import numpy as np

from bargein.pipeline import (
    Audio,
    Hold,
    Image,
    Processor,
    Resume,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolResult,
    Usage,
    UserText,
)
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness
from bargein.processors import SpeechContinued, Turns
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText, TextToSpeech, ToolRequest, Word
from bargein.services.frames import Configure, Respond, Say
from bargein.services.tools import tool

RATE = 8000
LETTER = RATE * 40 // 1000
"""How many samples a letter sounds."""
THEIRS = {"name": "theirs", "description": "The application's.", "parameters": {"type": "object", "properties": {}}}


class Through(Processor):
    """In the place of a detector: what the user does is said by hand."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        """As it is."""
        yield frame


class World:
    """What a call and its parts have in common."""

    def __init__(self, seed: int, failing: float = 1.0) -> None:
        self.random = Random(seed)
        self.failing = failing
        self.calm = False
        """Nothing unforeseen happens any more."""
        self.said: list[str] = []
        """The user's final words, each of them once in the world."""
        self.interrupt: Callable[[], Any] = lambda: None
        self._count = 0

    def chance(self, probability: float) -> bool:
        return not self.calm and self.random.random() < probability

    def fails(self, probability: float, who: str) -> None:
        if self.chance(probability * self.failing):
            raise ConnectionError(f"{who} is gone")

    def word(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    async def pause(self) -> None:
        """Sometimes it takes a while, and sometimes somebody interrupts at this very moment."""
        if self.chance(0.3):
            await anyio.sleep(self.random.choice((0.0, 0.001, 0.02, 0.3, 2.0)))
        if self.chance(0.02):
            self.interrupt()


class Ears(SpeechToText):
    """Hears words of its own, revises them, is late, fails, or hears nothing."""

    rate = RATE

    def __init__(self, world: World) -> None:
        self.world = world

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        world = self.world
        words: list[str] = []
        async for _ in sound:
            world.fails(0.02, "the ear")
            if world.chance(0.3):
                words.append(world.word("u"))
                yield " ".join(words)
        if world.chance(0.3):
            await anyio.sleep(world.random.choice((0.01, 0.3, 1.0, 1.6, 4.0, 20.0)))
        world.fails(0.1, "the ear")
        if world.chance(0.2):
            words.clear()
            yield ""
        elif world.chance(0.5) or world.calm:
            words = [*words[1:], world.word("u")]
            yield " ".join(words)
        world.said.extend(words)


class Mind(LanguageModel):
    """Writes words of its own, with pauses; calls tools; fails before, between and after; says nothing."""

    images = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[str] = []
        self.open = 0

    async def answer(self, prompt: Prompt) -> AsyncIterator[str | ToolRequest | Usage]:
        world = self.world
        self.asked.append(" ".join(entry.text for entry in prompt.entries if entry.role == "user"))
        assert all(entry.output is not None for entry in prompt.entries if entry.role == "call"), "half a pair"
        self.open += 1
        try:
            if world.calm:
                yield "At last."
                return
            for _ in range(world.random.choice((0, 1, 3, 12))):
                await world.pause()
                world.fails(0.04, "the model")
                if world.chance(0.01):
                    await anyio.sleep(200)
                yield world.word("a") + world.random.choice((" ", " ", ". ", ", and "))
                await world.pause()
            while world.chance(0.4):
                name = world.random.choice(("quick", "slow", "never", "fails", "off", "theirs", "unknown"))
                yield ToolRequest(name=name, call_id="" if world.chance(0.7) else world.word("id"))
            if world.chance(0.3):
                yield Usage(input_tokens=1)
        finally:
            self.open -= 1


class Voice(TextToSpeech):
    """Says each letter as long as any other; tells when its words sound, or not, before or after their sound."""

    rate = RATE

    def __init__(self, world: World) -> None:
        self.world = world

    async def speak(self, text: str) -> AsyncIterator[Samples | Word]:
        world = self.world
        if world.chance(0.04):
            return
        times, at = list[Word](), 0
        for word in text.split(" "):
            if word:
                times.append(Word(text=word, start_ms=at * 40.0, end_ms=(at + len(word)) * 40.0))
            at += len(word) + 1
        silent, early = world.chance(0.2), world.chance(0.5)
        for timed in times if early and not silent else ():
            yield timed
        sound = np.full(LETTER * len(text), 1000, np.int16)
        for piece in np.array_split(sound, 3):
            await world.pause()
            world.fails(0.02, "the voice")
            if world.chance(0.005):
                await anyio.sleep(100)
            yield piece
        for timed in times if not early and not silent else ():
            yield timed


def tools() -> list[Any]:
    """Tools of every kind."""

    @tool
    async def quick() -> str:
        return "done"

    @tool
    async def slow() -> str:
        await anyio.sleep(2)
        return "done"

    @tool(timeout_seconds=8)
    async def never() -> str:
        await anyio.sleep_forever()
        return ""

    @tool
    async def fails() -> str:
        raise ValueError("it does")

    @tool(cancellable=True)
    async def off() -> str:
        await anyio.sleep(3)
        return "done"

    return [quick, slow, never, fails, off]


def cascade(world: World, **options: Any) -> Cascade:
    """One of such parts."""
    through: Any = Through()
    random = world.random
    turns = Turns(silence_ms=random.choice((0, 200, 700)), transcript_ms=random.choice((0, 1, 1500)))
    meanwhile: Any = random.choice(("queue", "interrupt"))
    return Cascade(
        Ears(world), Mind(world), Voice(world), tools=tools(), vad=through, turns=turns, meanwhile=meanwhile, **options
    )


class User:
    """Speaks, types, shows, interrupts and holds, at any time, and answers calls, late or never."""

    def __init__(self, world: World, harness: Harness, *beside: Callable[[], None]) -> None:
        self.world = world
        self.beside = beside
        self.harness = harness
        self.typed: list[str] = []
        self.interrupts = 0
        self._count = 0
        self._now = 0
        self._answered: set[str] = set()

    async def does(self, steps: int) -> None:
        """So many things, one after the other."""
        random, harness = self.world.random, self.harness
        for _ in range(steps):
            match random.choice(("speak", "speak", "type", "wait", "wait", "interrupt", "hold", "show", "say", "tell")):
                case "speak":
                    await self.speaks(random.choice((1, 4, 8, 30)))
                case "type":
                    await self.types()
                case "interrupt":
                    self.interrupt()
                case "hold":
                    await harness.send(Hold())
                    await anyio.sleep(random.choice((0.0, 0.1, 1.0)))
                    await harness.send(Resume())
                case "show":
                    await harness.send(Image(data=b"jpeg", format="jpeg"))
                case "say":
                    await harness.send(random.choice((Say(text=self.world.word("s")), Respond())))
                case "tell":
                    schemas: Any = random.choice(((), (THEIRS,), None))
                    await harness.send(Configure(instructions=random.choice(("", "Be brief.")), schemas=schemas))
            await self.answers()
            for each in self.beside:
                if self.world.chance(0.1):
                    each()
            await anyio.sleep(random.choice((0.0, 0.0, 0.001, 0.033, 0.2, 1.0, 3.0)))

    def interrupt(self) -> None:
        self.interrupts += 1
        self.harness.session.interrupt()

    async def speaks(self, pieces: int, wait: float = 0.05) -> None:
        """An utterance, of so many pieces of 50 ms."""
        self._count += 1
        item, began = f"speech-{self._count}", self._now
        await self.harness.send(SpeechStarted(item_id=item, pts=began, lag_ms=100))
        for piece in range(pieces):
            self._now += 50_000_000
            samples = np.full(RATE // 20, 500, np.int16)
            await self.harness.send(Audio(samples=samples, rate=RATE, pts=self._now))
            await self.harness.send(SpeechContinued(item_id=item, pts=began, ms=50.0 * (piece + 1)))
            await anyio.sleep(wait)
        await self.harness.send(SpeechStopped(item_id=item, pts=self._now, lag_ms=self.world.random.choice((0, 200))))

    async def types(self) -> str:
        text = self.world.word("t")
        self.typed.append(text)
        await self.harness.send(UserText(text=text))
        return text

    async def answers(self) -> None:
        """Some calls that are left to the application."""
        for call in self.harness.of(ToolCall):
            if not call.handled and call.call_id not in self._answered and self.world.chance(0.5):
                self._answered.add(call.call_id)
                await self.harness.send(ToolResult(call_id=call.call_id, output='"there"'))
