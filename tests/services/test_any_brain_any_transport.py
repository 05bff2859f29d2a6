"""The README's agent over every brain, every transport, and every format of sound, swapped by one line.

In each call the caller speaks, the answer arrives as sound that can be heard, the caller speaks into it, the answer
stops, and the history has the words that were heard.

The daily run takes a sample of the product, by a hash of the names: each brain, transport, rate and number of channels
at least twice. `BARGEIN_EXTENDED=1` runs the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

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


class Case(NamedTuple):
    """One call."""

    brain: str
    transport: str
    rate: int
    channels: int

    def __str__(self) -> str:
        return f"{self.brain}, {self.transport}, {self.rate} Hz, {self.channels} ch"


VIRTUAL = [
    *(Case(*each) for each in product(BRAINS, ("websocket", "file"), RATES, (1, 2))),
    *(Case(brain, "telephone", 8_000, 1) for brain in BRAINS),  # the line has one format
]
REAL = [Case(*each) for each in product(("cascade", "OpenAI"), ("webrtc",), (16_000, 48_000), (1, 2))]
"""WebRTC runs in real time, and its codec always decodes to 48 kHz, so few of these say as much as all."""


def sample(cases: list[Case], times: int) -> list[Case]:
    """Return cases in which each value of each field appears this often, or as often as in all: the least by hash."""
    chosen: list[Case] = []
    seen: Counter[Any] = Counter()
    for case in sorted(cases, key=lambda case: crc32(str(case).encode())):
        if any(seen[field, value] < times for field, value in enumerate(case)):
            chosen.append(case)
            seen.update(enumerate(case))
    return chosen


def agent(brain: Processor | Pipeline, peer: Transport) -> Pipeline:
    return Pipeline(peer.source, brain, Spoken(), peer.sink)


async def check_call(case: Case, folder: Path) -> None:
    async with BRAINS[case.brain]() as made:

        def answers() -> list[str]:
            entries = [entry.remembered.strip() for entry in made.history if entry.role == "assistant"]
            return [each for each in entries if each]

        words = utterances()
        call = Call(
            words["weather"].samples, words["wait"].samples, HEARD_SECONDS, lambda: [*answers(), ""][1:2] == [END]
        )
        caller = await TRANSPORTS[case.transport](partial(agent, made.brain), call, case.rate, case.channels, folder)
        story, end = answers()
        assert end == END
        assert STORY.startswith(story)
        heard_ms = caller.audible_ms - made.end_ms
        assert 1_000 < heard_ms < 1000 * HEARD_SECONDS + 1_000 + STOPS_MS
        assert abs(len(story.split()) - made.count_words(heard_ms)) <= 1, f"{heard_ms} ms of {story!r}"


@pytest.mark.virtual
@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", amount(sample(VIRTUAL, 2), VIRTUAL), ids=str)
async def test_a_call(case: Case, tmp_path: Path) -> None:
    """The answer is heard, the caller's words stop it, and the history has what was heard."""
    await check_call(case, tmp_path)


@pytest.mark.real
@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", amount(sample(REAL, 1), REAL), ids=str)
async def test_a_call_in_real_time(case: Case, tmp_path: Path) -> None:
    """The same over WebRTC."""
    await check_call(case, tmp_path)


def test_the_sample_covers_the_product() -> None:
    """Each brain, transport, rate and number of channels is in the daily run twice."""
    cases = sample(VIRTUAL, 2)
    seen = Counter(each for case in cases for each in enumerate(case))
    assert min(seen.values()) >= 2
    assert {each for case in VIRTUAL for each in enumerate(case)} == set(seen)
    assert len(cases) < 40
