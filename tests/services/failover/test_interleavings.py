"""Failover: random conversations, random speech and many calls at once."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Delivery, Frame, Pipeline, Processor, ResponseStarted, UserText
from bargein.pipeline.testing import framed, silence
from bargein.processors import Heard
from bargein.services.cascade import Cascade
from bargein.services.failover import Failover
from bargein.services.frames import BrainSwitched
from bargein.services.sockets import SocketRefusedError
from tests.environment import amount
from tests.services.cascade.parts import Ears, Mind, Voice
from tests.services.realtime.peer import Peer
from tests.speech import utterances

from .call_kit import Measure, call, realtime, reserve, said, stale

pytestmark = pytest.mark.virtual


SEEDS = amount(20, 200)
"""Conversations in which everything happens at once."""
SPOKEN = amount(3, 5)
"""Spoken questions in each of four tests."""
MANY = amount(60, 200)
"""Calls at once."""


class Kill(Frame, frozen=True, kw_only=True):
    """Kills whoever takes it."""

    delivery = Delivery.EVENT


class Fuse(Processor):
    """Blows."""

    def process(self, frame: Kill) -> None:
        raise RuntimeError("blown")


def answers(prompt: Any) -> list[str | float]:
    """A reply in pieces, some of which take their time, to whatever was last said."""
    count = sum(entry.role == "user" for entry in prompt.entries)
    words = [f"c{count}word{letter} " for letter in "abcdefgh"]
    return [*words[:3], 0.2, *words[3:6], 0.3, *words[6:], "end."]


async def converse(seed: int) -> None:
    """One conversation in which brains are moved and die at any moment, and what must hold of it."""
    random, peer = Random(seed), Peer(seed)
    mind = Mind(answers)
    brain = Failover(
        realtime(peer),
        lambda: Cascade(Ears(), mind, Voice(words=True), name="second"),
        lambda: Cascade(Ears(), mind, Voice(words=random.random() < 0.5), name="third"),
        cooldown_seconds=random.choice((0.5, 5.0)),
        silence_seconds=5.0,
        returns=random.random() < 0.7,
    )
    asked: list[str] = []
    async with call(brain) as harness:
        for _ in range(random.randint(3, 12)):
            match random.choice(
                ("text", "text", "text", "wait", "local", "server", "switch", "switch", "break", "refuse")
            ):
                case "text":
                    asked.append(f"question {len(asked)}")
                    await harness.send(UserText(text=asked[-1]))
                case "wait":
                    await anyio.sleep(random.choice((0.02, 0.2, 1.0, 3.0)))
                case "local":
                    harness.interrupt()
                case "server":
                    await peer.speech()
                case "switch":
                    brain.switch()
                case "break":
                    await peer.close()
                case "refuse":
                    peer.refuse.append(SocketRefusedError("busy", status=503))
            await anyio.sleep(random.choice((0.0, 0.0, 0.01, 0.3)))
        await anyio.sleep(1)
        asked.append("the last question")
        await harness.send(UserText(text=asked[-1]))
        await anyio.sleep(60)  # all has been said and heard
        await harness.settle()
        await harness.session.cancel()
    assert not stale(harness)
    entries = [entry for entry in brain.history if entry.text and entry.role in ("user", "assistant")]
    assert [entry.text for entry in entries if entry.role == "user"] == asked, "nothing lost, nothing twice"
    after = entries[next(at for at, entry in enumerate(entries) if entry.text == asked[-1]) :]
    assert any(entry.role == "assistant" and entry.remembered.strip() for entry in after), "the last one was answered"
    heard = {(frame.response_id, frame.item_id): frame.text.strip() for frame in harness.of(Heard) if frame.done}
    for entry in entries:
        if entry.role == "assistant":
            assert entry.remembered.strip() == heard.get((entry.response_id, entry.item_id), ""), "as it was heard"
    started = [frame.response_id for frame in harness.of(ResponseStarted)]
    assert len(set(started)) == len(started)
    moves = harness.of(BrainSwitched)
    assert all(before.name == after.before for before, after in pairwise(moves))


@pytest.mark.parametrize("block", range(5))
async def test_random_interleavings(block: int) -> None:
    """Nothing stale is heard, nothing is lost, and the conversation is what was heard."""
    for seed in range(block * SEEDS // 5, (block + 1) * SEEDS // 5):
        try:
            await converse(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


async def speak(seed: int) -> None:
    """A spoken question, while brains are moved, or made to fail, once or twice."""
    random, speech = Random(seed), utterances()["weather"]

    def make(name: str) -> Pipeline:
        return Pipeline(Fuse(), Cascade(Measure(), Mind(["It is sunny."]), Voice(words=True)), name=name, inputs=Frame)

    brain = Failover(*(partial(make, name) for name in "abc"), returns=False)
    moves = sorted(random.uniform(0, 5) for _ in range(random.choice((1, 1, 2))))

    async def move() -> None:
        start = anyio.current_time()
        for at in moves:
            await anyio.sleep_until(start + at)
            if random.random() < 0.5:
                brain.switch()
            else:
                await harness.send(Kill())

    async with call(brain) as harness, anyio.create_task_group() as group:
        group.start_soon(move)
        sound = np.concatenate([silence(800), speech.samples, silence(5000)])
        await harness.play(list(framed(sound, rate=16_000)))
        await anyio.sleep(6)
        await harness.session.cancel()
    assert said(brain.history) == [("user", speech.text), ("assistant", "It is sunny.")]
    assert not stale(harness)
    assert brain.dropped_ms == 0


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
async def test_random_speech_is_answered_once(block: int) -> None:
    """The brain that has the conversation at the time answers all of it."""
    for seed in range(block * SPOKEN, (block + 1) * SPOKEN):
        await speak(seed)


@pytest.mark.slow
async def test_many_calls_at_once() -> None:
    """Each has its own failures, and all are answered."""
    answered = []

    async def one(number: int) -> None:
        peer = Peer(number, words=(1, 3))
        if number % 3 == 0:
            peer.refuse = [SocketRefusedError("busy", status=503)]
        brain = Failover(realtime(peer), reserve(f"Reserve {number}."), cooldown_seconds=1000)
        async with call(brain) as harness:
            await harness.send(UserText(text="Hello."))
            await anyio.sleep(0.01 + 0.05 * (number % 7))
            if number % 3 == 1:
                await peer.close()
            await anyio.sleep(2)
            last = brain.history.last
            answered.append(last is not None and last.remembered.strip() != "Hello.")
            assert brain.active == ("OpenAIRealtime" if number % 3 == 2 else "cascade")
            await harness.session.cancel()

    async with anyio.create_task_group() as group:
        for number in range(MANY):
            group.start_soon(one, number)
    assert answered == [True] * MANY
