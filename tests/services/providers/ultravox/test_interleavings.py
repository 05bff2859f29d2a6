"""Random conversations over calls whose sound does not name its response."""

from __future__ import annotations

from random import Random

import anyio
import pytest

from bargein.pipeline import LIVE, Audio, Played, ResponseEnded, ResponseStarted, UserText
from bargein.pipeline.testing import Harness
from bargein.processors import Pacer, Spoken
from bargein.services.providers.ultravox import Ultravox
from tests.environment import amount
from tests.services.upheaval import nothing_stale, seeded, upheaval

from .peer import RATE, WORD_MS, UltravoxPeer

pytestmark = pytest.mark.virtual

SEEDS = amount(20, 60)
"""On each of two backends."""


async def converse(seed: int) -> None:
    """One conversation, and what must hold of it."""
    random, peer = Random(seed), UltravoxPeer(seed)
    model = peer.model()
    async with Harness(model, Spoken(), Pacer(lead_ms=40)) as harness:
        session = harness.session

        async def speech() -> None:
            peer.interrupt()

        # Of three steps one is a cancel of ours that was on its way, and has stopped the next turn: it names none.
        await upheaval(harness, random, speech=speech, close=peer.close, both=3)
        await anyio.sleep(30)
        await harness.send(UserText(text="and at last?"))
        await anyio.sleep(30)  # all has been said and heard
        await harness.settle()
        await session.cancel()
    nothing_stale(harness)
    turns = _turns(harness)
    _nothing_lost(harness, peer, turns)
    _remembered_as_heard(harness, peer, model, turns)
    assert not peer.turns[-1].interrupted
    assert harness.of(ResponseEnded)[-1].outcome == "completed", "it is answered, whatever went before"
    assert turns[harness.of(ResponseEnded)[-1].response_id] == peer.turns[-1].number
    assert len(harness.of(ResponseStarted)) == len(harness.of(ResponseEnded))


def _turns(harness: Harness) -> dict[str, int]:
    """Which turn of the server's each response was: by its sound, which is of one alone."""
    found: dict[str, int] = {}
    for frame in harness.of(Audio):
        if frame.epoch != LIVE:
            turn = found.setdefault(frame.response_id, int(frame.samples[0]) - 1)
            assert (frame.samples == turn + 1).all(), "two turns in one response"
    return found


def _nothing_lost(harness: Harness, peer: UltravoxPeer, turns: dict[str, int]) -> None:
    """Of a response that was heard to its end, every sample comes."""
    done = {frame.response_id: frame for frame in harness.of(Played) if frame.done}
    for frame in harness.of(ResponseEnded):
        if frame.outcome == "completed" and frame.response_id in done and frame.response_id in turns:
            whole = len(peer.turns[turns[frame.response_id]].words) * WORD_MS
            if done[frame.response_id].ms >= whole - 1e-6:
                pieces = [
                    each for each in harness.of(Audio) if each.response_id == frame.response_id and each.epoch != LIVE
                ]
                assert sum(len(each.samples) for each in pieces) == whole * RATE // 1000


def _remembered_as_heard(harness: Harness, peer: UltravoxPeer, model: Ultravox, turns: dict[str, int]) -> None:
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
