"""Random conversations: nothing stale is heard, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import anyio
import pytest

from bargein.pipeline import LIVE, Audio, Played, ResponseEnded
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Spoken
from bargein.services.providers.azure import VOICE_LIVE, VoiceLive
from bargein.services.providers.openai import GA, Dialect, OpenAIRealtime
from bargein.services.providers.qwen import QWEN, QwenOmni
from bargein.services.providers.xai import XAI, GrokVoice
from bargein.services.realtime import Realtime
from tests.environment import amount
from tests.services.upheaval import nothing_stale, seeded, upheaval

from .peer import RATE, WORD_MS, Peer

pytestmark = pytest.mark.virtual

SEEDS = amount(100, 500)
"""On each of two backends."""


async def converse(seed: int, dialect: Dialect = GA, make: Callable[..., Realtime] = OpenAIRealtime) -> None:
    """One conversation, and what must hold of it."""
    random, peer = Random(seed), Peer(seed, dialect=dialect)
    model = make(api_key="key", connect=peer.connect, turn_detection="server_vad", transcription=None)
    async with Harness(model, Spoken(), Pacer(lead_ms=40)) as harness:
        session = harness.session
        await upheaval(harness, random, speech=peer.speech, close=peer.close)
        await anyio.sleep(60)  # all has been said and heard
        await harness.settle()
        await session.cancel()
    nothing_stale(harness)
    _nothing_lost(harness, peer)
    _remembered_as_heard(harness, peer, model)


def _nothing_lost(harness: Harness, peer: Peer) -> None:
    """Of a response that completed, and whose epoch did not pass while it was heard, every sample comes, in order."""
    done = {frame.response_id: frame for frame in harness.of(Played) if frame.done}
    for frame in harness.of(ResponseEnded):
        reply = peer.replies[int(frame.response_id.split("-")[1])]
        pieces = [each for each in harness.of(Audio) if each.response_id == reply.name and each.epoch != LIVE]
        assert all((each.samples == reply.number + 1).all() for each in pieces)
        samples = sum(len(each.samples) for each in pieces)
        whole = len(reply.words) * WORD_MS
        if frame.outcome == "completed" and reply.name in done and done[reply.name].ms >= whole - 1e-6:
            assert samples == whole * RATE // 1000


def _remembered_as_heard(harness: Harness, peer: Peer, model: Realtime) -> None:
    """The conversation and the provider keep what was heard: no word more, and none less."""
    heard = {frame.response_id: frame for frame in harness.of(Heard) if frame.done}
    played = {frame.response_id: frame.ms for frame in harness.of(Played) if frame.done}
    finished = {frame.response_id: frame.outcome for frame in harness.of(ResponseEnded)}
    for entry in model.history:
        if entry.role != "assistant":
            continue
        reply = peer.replies[int(entry.response_id.split("-")[1])]
        ms = played.get(entry.response_id, 0.0)
        words = entry.remembered.split()
        assert words == reply.words[: len(words)]
        assert abs(len(words) - ms / WORD_MS) <= 1.5, (entry, ms)
        if entry.response_id in heard:
            assert entry.remembered.strip() == heard[entry.response_id].text.strip(), entry
        if entry.response_id in finished and not reply.cancelled and ms >= len(reply.words) * WORD_MS:
            assert len(words) == len(reply.words)
        if reply.truncated is not None:
            assert abs(reply.truncated - ms) <= 1
        assert not (reply.deleted and ms >= 1)
        told = model.profile.supports_truncation and reply.connection == peer.connections
        assert model.profile.supports_truncation or not (reply.deleted or reply.truncated)
        if told and ms < reply.sent * WORD_MS - 1:
            assert reply.deleted or reply.truncated is not None, "the provider remembers what was not heard"


@pytest.mark.timeout(120)
async def test_random_interleavings() -> None:
    """The seed is part of the test, so a failure can be repeated."""
    await seeded(converse, range(SEEDS))


RELATED: dict[str, tuple[Dialect, Callable[..., Realtime]]] = {
    "Voice Live": (VOICE_LIVE, partial(VoiceLive, "m", "https://name.azure.com")),
    "Qwen": (QWEN, QwenOmni),
    "xAI": (XAI, GrokVoice),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", RELATED)
async def test_random_interleavings_of_a_dialect(name: str) -> None:
    """The dialects differ in whether memory can be cut, and whether a response is cancelled by its id."""
    dialect, make = RELATED[name]
    await seeded(partial(converse, dialect=dialect, make=make), range(amount(20, 50)))
