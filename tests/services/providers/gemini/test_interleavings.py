"""Random conversations with a provider whose sound does not name its response."""

from __future__ import annotations

from functools import partial
from random import Random

import anyio
import pytest

from bargein.pipeline import LIVE, Audio, Played, ResponseEnded, ResponseStarted, UserText
from bargein.pipeline.testing import Harness
from bargein.processors import Pacer, Spoken
from bargein.services.providers.gemini import GeminiLive
from tests.environment import amount
from tests.services.upheaval import nothing_stale, seeded, upheaval

from .peer import WORD_MS, SeededGemini

pytestmark = pytest.mark.virtual

SEEDS = amount(25, 80)
"""On each of two backends."""
RATE = 24_000


async def converse(seed: int) -> None:
    """One conversation, and what must hold of it."""
    random, peer = Random(seed), SeededGemini(seed)
    model = peer.model(transcription=False)
    async with Harness(model, Spoken(), Pacer(lead_ms=40)) as harness:
        session = harness.session

        async def speech() -> None:
            assert peer.session is not None
            await peer.session.interrupt()

        async def leave() -> None:
            await peer.go_away(random.choice((0.0, 3.0, 50.0)))

        await upheaval(harness, random, speech=speech, close=partial(peer.close, 1006), more={"leave": leave})
        await anyio.sleep(30)
        await harness.send(UserText(text="and at last?"))
        await anyio.sleep(30)  # all has been said and heard
        await harness.settle()
        last = peer.turns[-1]
        await session.cancel()
    turns = _turns(harness)
    nothing_stale(harness)
    _nothing_lost(harness, peer, turns)
    _remembered_as_heard(harness, peer, model, turns)
    assert not last.interrupted
    assert harness.of(ResponseEnded)[-1].outcome == "completed", "it is answered, whatever went before"
    assert turns[harness.of(ResponseEnded)[-1].response_id] == last.number
    assert len(harness.of(ResponseStarted)) == len(harness.of(ResponseEnded))


def _turns(harness: Harness) -> dict[str, int]:
    """Which turn of the server's each response was: by its sound, which is of one alone."""
    found: dict[str, int] = {}
    for frame in harness.of(Audio):
        if frame.epoch != LIVE:
            turn = found.setdefault(frame.response_id, int(frame.samples[0]) - 1)
            assert (frame.samples == turn + 1).all(), "two turns in one response"
    assert len(set(found.values())) == len(found), "one turn in two responses"
    return found


def _nothing_lost(harness: Harness, peer: SeededGemini, turns: dict[str, int]) -> None:
    """Of a response that was heard to its end, every sample comes."""
    done = {frame.response_id: frame for frame in harness.of(Played) if frame.done}
    for frame in harness.of(ResponseEnded):
        if frame.outcome == "completed" and frame.response_id in done:
            whole = len(peer.turns[turns[frame.response_id]].words) * WORD_MS
            if done[frame.response_id].ms >= whole - 1e-6:
                pieces = [
                    each for each in harness.of(Audio) if each.response_id == frame.response_id and each.epoch != LIVE
                ]
                assert sum(len(each.samples) for each in pieces) == whole * RATE // 1000


def _remembered_as_heard(harness: Harness, peer: SeededGemini, model: GeminiLive, turns: dict[str, int]) -> None:
    """The conversation keeps the words that were heard: a prefix of the turn's, as long as its sound that played."""
    played = {frame.response_id: frame.ms for frame in harness.of(Played) if frame.done}
    for entry in model.history:
        if entry.role == "assistant" and entry.response_id in turns:
            said = peer.turns[turns[entry.response_id]].words
            words = entry.remembered.split()
            assert words == said[: len(words)]
            assert abs(len(words) - played.get(entry.response_id, 0.0) / WORD_MS) <= 1.5, entry


@pytest.mark.timeout(120)
async def test_random_interleavings() -> None:
    """The seed is part of the test, so a failure can be repeated."""
    await seeded(converse, range(SEEDS))
