"""Random conversations with Nova Sonic: nothing stale is heard, and nothing else is lost."""

from __future__ import annotations

from random import Random

import anyio
import pytest

from bargein.pipeline import LIVE, Audio, Played, ResponseEnded
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Spoken
from bargein.services.providers.nova import NovaSonic
from tests.environment import amount
from tests.services.upheaval import nothing_stale, seeded, upheaval

from .peer import RATE, WORD_MS, Peer, Turn

pytestmark = pytest.mark.virtual

SEEDS = amount(15, 50)
"""On each of two backends."""


async def converse(seed: int) -> None:
    """One conversation, and what must hold of it."""
    random, peer = Random(seed), Peer(seed=seed)
    peer.stragglers = True
    model = peer.model()
    async with Harness(model, Spoken(), Pacer(lead_ms=40)) as harness:
        session = harness.session

        async def speech() -> None:
            await peer.session.barge_in()

        async def again() -> None:
            block = await peer.session.begin("TEXT", "ASSISTANT", "FINAL")
            await peer.session.send("contentEnd", contentId=block, type="TEXT", stopReason="INTERRUPTED")

        await upheaval(harness, random, speech=speech, again=again, close=peer.close)
        await anyio.sleep(20)  # all has been said and heard
        await harness.settle()
        await session.cancel()
    assert not peer.faults
    nothing_stale(harness)
    _silent_after_a_barge_in(harness, peer, _turns(harness, peer))
    _nothing_lost(harness, _turns(harness, peer))
    _remembered_as_heard(harness, _turns(harness, peer), model)


def _turns(harness: Harness, peer: Peer) -> dict[str, Turn]:
    """The peer's turns by the names of their responses: their sound tells which is which."""
    return {
        frame.response_id: peer.turns[int(frame.samples[-1]) - 1]
        for frame in harness.of(Audio)
        if frame.epoch != LIVE and frame.response_id and int(frame.samples[-1]) > 0
    }


def _silent_after_a_barge_in(harness: Harness, peer: Peer, turns: dict[str, Turn]) -> None:
    """What the service has called interrupted is not heard any more, unless the news was lost with the connection."""
    for at, frame in harness.timeline:
        if isinstance(frame, Audio) and frame.epoch != LIVE and frame.response_id in turns:
            since = turns[frame.response_id].interrupted_at - harness._began
            lost = any(0 <= broken - harness._began - since < 0.1 for broken in peer.broken_at)
            assert at <= since + 1e-6 or lost


def _nothing_lost(harness: Harness, turns: dict[str, Turn]) -> None:
    """Of a turn that was made and heard to its end every sample comes, and nothing of another."""
    done = {frame.response_id: frame for frame in harness.of(Played) if frame.done}
    for frame in harness.of(ResponseEnded):
        if frame.response_id not in turns:
            continue
        turn = turns[frame.response_id]
        pieces = [each for each in harness.of(Audio) if each.response_id == frame.response_id and each.epoch != LIVE]
        assert all((each.samples == turn.number + 1).all() for each in pieces)
        whole = len(turn.words) * WORD_MS
        if frame.outcome == "completed" and frame.response_id in done and done[frame.response_id].ms >= whole - 1e-6:
            assert sum(len(each.samples) for each in pieces) == whole * RATE // 1000


def _remembered_as_heard(harness: Harness, turns: dict[str, Turn], model: NovaSonic) -> None:
    """The conversation keeps what was heard: no word more, and none less."""
    heard = {frame.response_id: frame for frame in harness.of(Heard) if frame.done}
    played = {frame.response_id: frame.ms for frame in harness.of(Played) if frame.done}
    for entry in model.history:
        if entry.role != "assistant" or entry.response_id not in turns:
            continue
        ms, words = played.get(entry.response_id, 0.0), entry.remembered.split()
        assert words == turns[entry.response_id].words[: len(words)]
        assert abs(len(words) - ms / WORD_MS) <= 1.5, (entry, ms)
        if entry.response_id in heard:
            assert entry.remembered.strip() == heard[entry.response_id].text.strip(), entry


@pytest.mark.timeout(120)
async def test_random_interleavings() -> None:
    """The seed is part of the test, so a failure can be repeated."""
    await seeded(converse, range(SEEDS))
