"""What every brain does before and after words: it greets, it takes any sound and picture, a commit ends a turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Image, Processor, ResponseEnded, Transcript, UserText, Video
from bargein.pipeline.testing import Harness, framed, silence, speech_like
from bargein.processors import Commit, Heard, Pacer, Spoken
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText
from bargein.services.failover import Failover
from bargein.services.frames import Connected, Respond, Say
from bargein.services.providers.openai import OpenAIRealtime, serve_socket
from bargein.services.realtime import Realtime
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.testing.rehearsal import STAND_INS, rehearse
from tests.services.cascade.parts import Voice

STORY = "Once upon a time there was a king."


class Ear(SpeechToText):
    """Understands "hello" in everything, once the utterance is over."""

    async def transcribe(self, sound: AsyncIterator[np.ndarray]) -> AsyncIterator[str]:
        async for _ in sound:
            pass
        yield "hello"


class Parrot(LanguageModel):
    """Repeats the user, or its instructions if there is nothing to repeat."""

    async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        last = prompt.entries[-1] if prompt.entries else None
        yield f"You said {last.text}." if last is not None and last.role == "user" else prompt.instructions


class Seeing(Parrot):
    images = True


def cascade(**options: object) -> Cascade:
    return Cascade(Ear(), Parrot(), Voice(), **options)  # type: ignore[arg-type]


BRAINS: dict[str, Callable[..., Processor]] = {
    "cascade": cascade,
    "failover": lambda **options: Failover(cascade(), lambda: cascade(name="reserve"), **options),
}


@pytest.mark.virtual
@pytest.mark.parametrize("brain", BRAINS)
@pytest.mark.parametrize("greeting", ["Hello!", Say("Hello!", protected=True), Respond(instructions="Hello!")])
async def test_it_speaks_first(brain: str, greeting: str | Say | Respond) -> None:
    """The greeting is heard before the user has said anything, and stands in the history like any other words."""
    made = BRAINS[brain](greeting=greeting)
    async with Harness(made, Spoken(), Pacer()) as harness:
        await harness.next(ResponseEnded, within_seconds=5)
        await anyio.sleep(2)
        assert [frame.text.strip() for frame in harness.of(Heard) if frame.done] == ["Hello!"]
        await harness.send(UserText("good morning"))
        await anyio.sleep(3)
        await harness.session.cancel()
    said = [entry.remembered.strip() for entry in made.history]  # type: ignore[attr-defined]
    assert said == ["Hello!", "good morning", "You said good morning."]


@pytest.mark.virtual
async def test_a_conversation_that_goes_on_is_not_greeted() -> None:
    """A brain that takes over a history does not say hello in the middle."""
    made = cascade(greeting="Hello!")
    made.history.user("We have spoken before.")
    async with Harness(made, Spoken(), Pacer()) as harness:
        await anyio.sleep(5)
        assert not harness.of(Heard)
        await harness.session.cancel()


@pytest.mark.virtual
@pytest.mark.parametrize("brain", BRAINS)
async def test_a_commit_ends_the_turn(brain: str) -> None:
    """Push to talk: the key is released in the middle of the sound, none follows, and the agent answers."""
    made = BRAINS[brain]()
    async with Harness(made, Spoken(), Pacer()) as harness:
        await harness.send(*framed(silence(300)), *framed(speech_like(1200)))
        await harness.send(Commit())
        await anyio.sleep(0.1)
        assert [frame.text for frame in harness.of(Transcript) if frame.final and frame.speaker == "user"] == ["hello"]
        await anyio.sleep(3)
        assert [frame.text.strip() for frame in harness.of(Heard) if frame.done] == ["You said hello."]
        await harness.session.cancel()


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[OpenAIRealtime]:
    """A cascade behind this project's server."""
    async with anyio.create_task_group() as group:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            group.start_soon(serve_socket, theirs, cascade)
            try:
                yield ours
            finally:
                await ours.close()

        yield OpenAIRealtime(api_key="any", connect=connect, **options)
        group.cancel_scope.cancel()


NO_COMMITS = ("Nova Sonic", "Ultravox")
"""Providers that always decide themselves when the user has finished."""


def stand_in(provider: str) -> Callable[..., AbstractAsyncContextManager[Realtime]]:
    return partial(rehearse, provider, "You said hello.", hears=["hello"])


@pytest.mark.virtual
@pytest.mark.parametrize("key", ["push to talk", "beside turn detection"])
@pytest.mark.parametrize("brain", ["served", *(each for each in STAND_INS if each not in NO_COMMITS)])
async def test_a_commit_ends_the_turn_of_a_realtime_model(brain: str, key: str) -> None:
    """Of every provider that takes one: with the key alone, and where the provider detects turns as well."""
    make: Callable[..., AbstractAsyncContextManager[Realtime]] = served if brain == "served" else stand_in(brain)
    options: dict[str, Any] = {"turn_detection": None} if key == "push to talk" else {}
    if brain == "Azure OpenAI":
        options["transcription"] = "whisper-1"  # a deployment of one's own: by default there is none
    async with make(**options) as model:
        assert model.profile.supports_commit
        async with Harness(model, Spoken(), Pacer()) as harness:
            await harness.next(Connected, within_seconds=10)
            await harness.send(*framed(silence(300)), *framed(speech_like(1200)))
            await harness.send(Commit())
            await anyio.sleep(5)
            users = [frame.text for frame in harness.of(Transcript) if frame.final and frame.speaker == "user"]
            assert users == ["hello"]
            assert [frame.text.strip() for frame in harness.of(Heard) if frame.done] == ["You said hello."]
            assert [entry.text for entry in model.history if entry.role == "user"] == ["hello"]
            assert not harness.of(Failure)
            await harness.session.cancel()


@pytest.mark.parametrize("provider", NO_COMMITS)
async def test_a_provider_that_takes_no_commit_says_so(provider: str) -> None:
    """In its profile."""
    async with stand_in(provider)() as model:
        assert not model.profile.supports_commit


@pytest.mark.virtual
@pytest.mark.parametrize("rate", [8000, 22_050, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 4])
async def test_a_cascade_takes_any_sound(rate: int, channels: int) -> None:
    """The sound may have any rate and any number of channels."""
    async with Harness(cascade(), Spoken(), Pacer()) as harness:
        for frame in framed(np.concatenate([silence(300, rate=rate), speech_like(1000, rate=rate)]), rate=rate):
            samples = np.repeat(frame.samples.reshape(-1, 1), channels, axis=1) if channels > 1 else frame.samples
            await harness.send(Audio(samples, rate, pts=frame.pts))
        await harness.send(Commit())
        await harness.next(ResponseEnded, within_seconds=5)
        await harness.session.cancel()


@pytest.mark.virtual
async def test_a_cascade_takes_any_picture() -> None:
    """Raw or encoded, for a model that looks at pictures; for another one it is a failure, and the call continues."""
    pictures = Image(np.zeros((8, 8, 3), np.uint8)), Video(np.zeros((8, 8), np.uint8), format="gray8")
    seeing = Cascade(Ear(), Seeing(), Voice())
    async with Harness(seeing, Spoken(), Pacer()) as harness:
        await harness.send(*pictures)
        await anyio.sleep(1)
        assert [entry.available_pictures[0].media for entry in seeing.history] == ["image/jpeg", "image/jpeg"]
        await harness.session.cancel()
    async with Harness(cascade(), Spoken(), Pacer()) as harness:
        await harness.send(*pictures, UserText("hi"))
        await harness.next(ResponseEnded, within_seconds=5)
        assert harness.of(Failure)
        await harness.session.cancel()


@pytest.mark.virtual
@pytest.mark.parametrize(
    "provider",
    ["OpenAI", "Azure OpenAI", "Voice Live", "Gemini", "Nova Sonic", "Qwen Omni", "Ultravox", "xAI Grok"],
)
async def test_every_provider_takes_anything(provider: str) -> None:
    """Sound of 48 kHz in stereo, raw pictures, text, `Say`, `Respond` and `Commit`: nothing ends the call."""
    async with rehearse(provider, STORY, greeting="Hello!") as model:
        async with Harness(model, Spoken(), Pacer()) as harness:
            await anyio.sleep(6)
            sound = np.stack([speech_like(500, rate=48_000)] * 2, axis=1)
            await harness.send(
                Image(np.zeros((8, 8, 3), np.uint8)),
                Audio(sound, 48_000),
                Commit(),
                Say("Good morning."),
                Respond(),
                UserText("Tell me a story."),
            )
            await harness.next(ResponseEnded, within_seconds=30)
            await anyio.sleep(5)
            assert not [failure for failure in harness.of(Failure) if failure.fatal]
            assert any(frame.text for frame in harness.of(Heard))
            await harness.session.cancel()
