"""Conversations with every provider in which everything happens at once: nothing stale is heard, nothing is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest

from bargein.pipeline import LIVE, Audio, Played, ResponseEnded, ResponseStarted, UserText
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Spoken
from bargein.services.providers.azure import VOICE_LIVE, VoiceLive
from bargein.services.providers.openai import GA, Dialect, OpenAIRealtime
from bargein.services.providers.qwen import QWEN, QwenOmni
from bargein.services.providers.xai import XAI, GrokVoice
from bargein.services.realtime import Realtime
from tests.environment import amount
from tests.services.realtime.peer import Peer, Reply
from tests.services.upheaval import nothing_stale, seeded, upheaval

from .gemini.peer import SeededGemini
from .nova.peer import Peer as NovaPeer
from .ultravox.peer import UltravoxPeer

pytestmark = pytest.mark.virtual

RATE = 24_000
WORD_MS = 500
"""How long each word of a peer sounds."""


class Side:
    """A provider in this suite: its peer, its model, and what can happen to it.

    The samples of a peer's turn are its number and one, so the sound tells to which turn a response belongs.
    """

    together = 2
    """Steps that speech and an interrupt of the application may be together, at most."""
    more: Mapping[str, Callable[[], Awaitable[None]]] = {}

    def __init__(self, peer: Any, model: Realtime) -> None:
        self.peer = peer
        self.model = model

    @property
    def turns(self) -> list[Any]:
        """The peer's turns, each with its number and its words."""
        turns: list[Any] = self.peer.turns
        return turns

    async def speech(self) -> None:
        """Let the provider hear the user."""
        await self.peer.speech()

    async def again(self) -> None:
        """Let the provider report the same speech a second time."""
        await self.speech()

    def check(self, harness: Harness, turns: dict[str, Any], played: dict[str, float]) -> None:
        """Check what holds for this provider alone.

        Args:
            harness: The conversation.
            turns: The peer's turn of each response that was heard.
            played: The milliseconds of each response that were heard.
        """


class OpenAISide(Side):
    def __init__(self, seed: int, dialect: Dialect = GA, make: Callable[..., Realtime] = OpenAIRealtime) -> None:
        peer = Peer(seed, dialect=dialect)
        options: dict[str, Any] = {"turn_detection": "server_vad", "transcription": None}
        super().__init__(peer, make(api_key="key", connect=peer.connect, **options))

    @property
    def turns(self) -> list[Reply]:
        replies: list[Reply] = self.peer.replies
        return replies

    def check(self, harness: Harness, turns: dict[str, Any], played: dict[str, float]) -> None:
        """The provider keeps what was heard, too: no word more, and none less."""
        finished = {frame.response_id for frame in harness.of(ResponseEnded)}
        can_truncate = self.model.profile.supports_truncation
        for entry in self.model.history:
            if entry.role != "assistant":
                continue
            reply = self.turns[int(entry.response_id.split("-")[1])]
            ms = played.get(entry.response_id, 0.0)
            assert turns.get(entry.response_id, reply) is reply
            if entry.response_id in finished and not reply.cancelled and ms >= len(reply.words) * WORD_MS:
                assert len(entry.remembered.split()) == len(reply.words)
            if reply.truncated is not None:
                assert abs(reply.truncated - ms) <= 1
            assert not (reply.deleted and ms >= 1)
            assert can_truncate or not (reply.deleted or reply.truncated)
            if can_truncate and reply.connection == self.peer.connections and ms < reply.sent * WORD_MS - 1:
                assert reply.deleted or reply.truncated is not None, "the provider remembers what was not heard"


class GeminiSide(Side):
    """Its sound names no response."""

    def __init__(self, seed: int) -> None:
        peer, self.random = SeededGemini(seed), Random(seed)
        super().__init__(peer, peer.model(transcription=False))
        self.more = {"leave": self.leave}

    async def speech(self) -> None:
        await self.peer.session.interrupt()

    async def leave(self) -> None:
        await self.peer.go_away(self.random.choice((0.0, 3.0, 50.0)))


class NovaSide(Side):
    def __init__(self, seed: int) -> None:
        peer = NovaPeer(seed=seed)
        peer.stragglers = True
        super().__init__(peer, peer.model())

    async def speech(self) -> None:
        await self.peer.session.barge_in()

    async def again(self) -> None:
        block = await self.peer.session.begin("TEXT", "ASSISTANT", "FINAL")
        await self.peer.session.send("contentEnd", contentId=block, type="TEXT", stopReason="INTERRUPTED")

    def check(self, harness: Harness, turns: dict[str, Any], played: dict[str, float]) -> None:
        """What the service has called interrupted is not heard any more, unless the news was lost with the connection.

        Events come in the order on which the service insists.
        """
        assert not self.peer.faults
        for at, frame in harness.timeline:
            if isinstance(frame, Audio) and frame.epoch != LIVE and frame.response_id in turns:
                since = turns[frame.response_id].interrupted_at - harness._began
                lost = any(0 <= broken - harness._began - since < 0.1 for broken in self.peer.broken_at)
                assert at <= since + 1e-6 or lost


class UltravoxSide(Side):
    """Its sound names no response.

    Of three steps one is a cancel of ours that was on its way, and has stopped the next turn: it names none.
    """

    together = 3

    def __init__(self, seed: int) -> None:
        peer = UltravoxPeer(seed)
        super().__init__(peer, peer.model())

    async def speech(self) -> None:
        self.peer.interrupt()


SIDES: dict[str, tuple[Callable[[int], Side], int]] = {
    "OpenAI": (OpenAISide, amount(100, 500)),
    "Voice Live": (
        partial(OpenAISide, dialect=VOICE_LIVE, make=partial(VoiceLive, "m", "https://name.azure.com")),
        amount(20, 50),
    ),
    "Qwen": (partial(OpenAISide, dialect=QWEN, make=QwenOmni), amount(20, 50)),
    "xAI": (partial(OpenAISide, dialect=XAI, make=GrokVoice), amount(20, 50)),
    "Gemini": (GeminiSide, amount(25, 80)),
    "Nova": (NovaSide, amount(15, 50)),
    "Ultravox": (UltravoxSide, amount(20, 60)),
}
"""Each provider, with the number of conversations on each of two backends."""


async def converse(make: Callable[[int], Side], seed: int) -> None:
    """One conversation, and what must hold of it."""
    random, side = Random(seed), make(seed)
    async with Harness(side.model, Spoken(), Pacer(lead_ms=40)) as harness:
        session = harness.session
        close = partial(side.peer.close, 1006)
        await upheaval(
            harness, random, speech=side.speech, again=side.again, close=close, both=side.together, more=side.more
        )
        await anyio.sleep(30)
        await harness.send(UserText(text="and at last?"))
        await anyio.sleep(30)  # all has been said and heard
        await harness.settle()
        last = side.turns[-1].number
        await session.cancel()
    nothing_stale(harness)
    turns, played = _turns(harness, side), {frame.response_id: frame.ms for frame in harness.of(Played) if frame.done}
    _nothing_lost(harness, turns, played)
    _remembered_as_heard(harness, side, turns, played)
    side.check(harness, turns, played)
    end = harness.of(ResponseEnded)[-1]
    assert (end.outcome, turns[end.response_id].number) == ("completed", last), "the last question is answered"
    assert len(harness.of(ResponseStarted)) == len(harness.of(ResponseEnded))


def _turns(harness: Harness, side: Side) -> dict[str, Any]:
    """Return the peer's turn of each response that was heard. Its sound tells which one it is."""
    numbers: dict[str, int] = {}
    for frame in harness.of(Audio):
        if frame.epoch != LIVE and len(frame.samples):
            number = numbers.setdefault(frame.response_id, int(frame.samples[0]) - 1)
            assert (frame.samples == number + 1).all(), "two turns in one response"
    assert len(set(numbers.values())) == len(numbers), "one turn in two responses"
    return {response: side.turns[number] for response, number in numbers.items()}


def _nothing_lost(harness: Harness, turns: dict[str, Any], played: dict[str, float]) -> None:
    """Of a response that was heard to its end, every sample comes."""
    for frame in harness.of(ResponseEnded):
        if frame.outcome == "completed" and frame.response_id in played and frame.response_id in turns:
            whole = len(turns[frame.response_id].words) * WORD_MS
            if played[frame.response_id] >= whole - 1e-6:
                pieces = [each for each in harness.of(Audio) if each.response_id == frame.response_id]
                assert sum(len(each.samples) for each in pieces if each.epoch != LIVE) == whole * RATE // 1000


def _remembered_as_heard(harness: Harness, side: Side, turns: dict[str, Any], played: dict[str, float]) -> None:
    """The conversation keeps the words that were heard: a prefix of the turn's, as long as its sound that played."""
    heard = {frame.response_id: frame for frame in harness.of(Heard) if frame.done}
    for entry in side.model.history:
        if entry.role == "assistant" and entry.response_id in turns:
            words = entry.remembered.split()
            assert words == turns[entry.response_id].words[: len(words)]
            assert abs(len(words) - played.get(entry.response_id, 0.0) / WORD_MS) <= 1.5, entry
            if entry.response_id in heard:
                assert entry.remembered.strip() == heard[entry.response_id].text.strip(), entry


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("provider", SIDES)
async def test_everything_at_once(provider: str) -> None:
    """Seeded, so that a failure can be met again."""
    make, seeds = SIDES[provider]
    await seeded(partial(converse, make), range(seeds))
