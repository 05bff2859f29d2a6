"""The README's agent over every brain, every transport, and every format of sound, swapped by one line.

In each call the caller speaks, the answer arrives as sound that can be heard, the caller speaks into it, the answer
stops, and the history has the words that were heard.

The daily run has each brain over each kind of transport once, and each format of a transport at least once. WebRTC
needs real time, so two calls run over it. `BARGEIN_EXTENDED=1` runs the product.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from bargein.pipeline import Pipeline, Processor
from bargein.processors import Sentences, Spoken
from bargein.services.cascade import Cascade, Speak
from bargein.services.failover import Failover
from bargein.services.history import History
from bargein.services.providers.openai import OpenAIRealtime, serve_socket
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.testing.openai import rehearsal
from bargein.services.testing.rehearsal import STAND_INS, rehearse
from bargein.services.transports import Transport
from tests.environment import amount
from tests.services.callers import TRANSPORTS, Call
from tests.services.cascade.parts import LETTER_MS, Ears, Mind, Voice
from tests.speech import utterances

STORY = " ".join(["This that them thin thaw thud."] * 12)
END = "Yes."
"""What is said after the interrupt, to its end."""
HEARD_SECONDS = 3.0
"""How much of the story is heard before the caller speaks into it."""
STOPS_MS = 1_500.0
"""How much more of it may be heard, from the beginning of those words: a detector wants 100 to 600 ms of speech."""


class Brain(NamedTuple):
    """The line that changes, the history behind it, and how long its words sound."""

    brain: Processor | Pipeline
    history: History
    word_ms: float = 0.0
    """Length of each word; 0 for `LETTER_MS` a letter."""

    def count_words(self, ms: float) -> int:
        """Return how many words of the story sound in this time."""
        if self.word_ms:
            return round(ms / self.word_ms)
        ends, at = [], 0.0
        for word in STORY.split():
            ends.append(at + LETTER_MS * len(word))
            at = ends[-1] + (0 if word.endswith(".") else LETTER_MS)
        return sum(end <= ms + LETTER_MS for end in ends)

    @property
    def end_ms(self) -> float:
        """How long the words after the interrupt sound."""
        return self.word_ms or LETTER_MS * len(END)


def make_cascade() -> Cascade:
    return Cascade(Ears("Tell me a story.", "Wait."), Mind([STORY], [END]), Voice(words=True))


@asynccontextmanager
async def cascade() -> AsyncIterator[Brain]:
    brain = make_cascade()
    yield Brain(brain, brain.history)


@asynccontextmanager
async def failover() -> AsyncIterator[Brain]:
    brain = Failover(make_cascade(), make_cascade().options(name="reserve"))
    yield Brain(brain, brain.history)


@asynccontextmanager
async def served() -> AsyncIterator[Brain]:
    """A cascade behind this project's server, which speaks OpenAI's protocol."""
    async with anyio.create_task_group() as group:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            group.start_soon(serve_socket, theirs, make_cascade)
            try:
                yield ours
            finally:
                await ours.close()

        brain = OpenAIRealtime(api_key="any", connect=connect)
        yield Brain(brain, brain.history)
        group.cancel_scope.cancel()


@asynccontextmanager
async def voiced() -> AsyncIterator[Brain]:
    """A realtime model that writes, and another vendor's voice."""
    async with rehearsal(STORY, END, word_ms=0) as connect:
        model = OpenAIRealtime(api_key="any", connect=connect, output="text")
        yield Brain(Pipeline(model, Sentences(), Speak(Voice(words=True))), model.history)


@asynccontextmanager
async def rehearsed(provider: str) -> AsyncIterator[Brain]:
    async with rehearse(provider, STORY, END) as model:
        yield Brain(model, model.history, word_ms=400)


BRAINS: dict[str, Callable[[], AbstractAsyncContextManager[Brain]]] = {
    "cascade": cascade,
    "failover": failover,
    "served": served,
    "text and voice": voiced,
    **{provider: partial(rehearsed, provider) for provider in STAND_INS},
}
RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
WAYS: dict[str, list[tuple[str, int, int]]] = {
    "websocket": [("websocket", *each) for each in product(RATES, (1, 2))],
    "file": [("file", *each) for each in product(RATES, (1, 2))],
    "telephone": [("twilio", 8_000, 1), ("telnyx", 8_000, 1), ("plivo", 8_000, 1), ("plivo", 16_000, 1)],
}
"""The ways in that need no socket, by kind: a transport, with each rate (Hz) and number of channels it can have."""


class Case(NamedTuple):
    """One call."""

    brain: str
    transport: str
    rate: int
    channels: int

    def __str__(self) -> str:
        return f"{self.brain}, {self.transport}, {self.rate} Hz, {self.channels} ch"


VIRTUAL = [Case(brain, *way) for ways in WAYS.values() for brain, way in product(BRAINS, ways)]
REAL = [[Case(brain, "webrtc", rate, channels) for channels in (1, 2)] for brain, rate in product(BRAINS, RATES)]
"""WebRTC has sockets of its own, so it runs in real time. The calls of a row run side by side."""
REAL_SAMPLE = [[Case("cascade", "webrtc", 16_000, 2), Case("OpenAI", "webrtc", 48_000, 1)]]
"""WebRTC's codec always decodes to 48 kHz in two channels, so few of these say as much as all."""


def sample() -> list[Case]:
    """Return a call of each brain over each kind of transport, with the ways of that kind in turn."""
    return [
        Case(brain, *ways[(place + shift) % len(ways)])
        for shift, ways in enumerate(WAYS.values())
        for place, brain in enumerate(BRAINS)
    ]


def agent(brain: Processor | Pipeline, peer: Transport) -> Pipeline:
    return Pipeline(peer.source, brain, Spoken(), peer.sink)


async def check_call(case: Case, folder: Path) -> None:
    async with BRAINS[case.brain]() as made:

        def answers() -> list[str]:
            entries = [entry.remembered.strip() for entry in made.history if entry.role == "assistant"]
            return [each for each in entries if each]

        words = utterances()
        call = Call(
            words["weather"].samples,
            words["wait"].samples,
            HEARD_SECONDS,
            lambda: [*answers(), ""][1:2] == [END],
            last_ms=made.end_ms,
        )
        caller = await TRANSPORTS[case.transport](partial(agent, made.brain), call, case.rate, case.channels, folder)
        story, end = answers()
        assert end == END
        assert STORY.startswith(story)
        heard_ms = caller.audible_ms - made.end_ms
        assert 1_000 < heard_ms < 1000 * HEARD_SECONDS + 1_000 + STOPS_MS
        assert abs(len(story.split()) - made.count_words(heard_ms)) <= 1, f"{heard_ms} ms of {story!r}"


@pytest.mark.slow
@pytest.mark.virtual
@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", amount(sample(), VIRTUAL), ids=str)
async def test_a_call(case: Case, tmp_path: Path) -> None:
    """The answer is heard, the caller's words stop it, and the history has what was heard."""
    await check_call(case, tmp_path)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(120)
@pytest.mark.parametrize("cases", amount(REAL_SAMPLE, REAL), ids=lambda cases: " and ".join(map(str, cases)))
async def test_calls_in_real_time(cases: list[Case], tmp_path: Path) -> None:
    """The same over WebRTC, two calls at once."""
    async with anyio.create_task_group() as group:
        for case in cases:
            group.start_soon(check_call, case, tmp_path)


def test_the_sample_covers_the_product() -> None:
    """The daily run has each way with some brain, and each brain over each kind of transport."""
    cases = sample()
    assert {case[1:] for case in cases} == {way for ways in WAYS.values() for way in ways}
    assert [case.brain for case in cases] == [*BRAINS] * len(WAYS)
