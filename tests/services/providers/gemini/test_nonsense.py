"""A server that sends anything at any time: nothing breaks, and the conversation continues afterwards."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

import anyio
import pytest

from bargein.pipeline import ResponseEnded, ResponseStarted, SpeechStarted, UserText
from bargein.pipeline.testing import Harness, framed, tone
from bargein.processors import Commit, Pacer, Spoken
from bargein.services.frames import ClearAudio, Configure, Respond
from bargein.services.providers.gemini import GeminiLive
from bargein.services.realtime import ReconnectPolicy
from bargein.services.testing import ScriptedGemini
from tests.environment import amount
from tests.services.upheaval import seeded

pytestmark = pytest.mark.virtual

SEEDS = amount(6, 15)
PCM = base64.b64encode(bytes(4800)).decode()
SOUND = {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": PCM}}]}}}
FLAGS = ({"generationComplete": True}, {"turnComplete": True}, {"interrupted": True})


def anything(random: Random) -> dict[str, Any]:
    """A message that a server may send, though perhaps not now."""
    call = f"c{random.randrange(5)}"
    flags = random.choice(FLAGS) | random.choice(({}, {}, *FLAGS))
    return random.choice(
        (
            SOUND,
            SOUND,
            {"serverContent": {"outputTranscription": {"text": " word"}}},
            {"serverContent": {"inputTranscription": {"text": " heard", "finished": random.random() < 0.3}}},
            {"serverContent": flags},
            {"serverContent": flags, "usageMetadata": {"promptTokenCount": 1}},
            {"toolCall": {"functionCalls": [{"id": call, "name": random.choice(("look", "nobody")), "args": {}}]}},
            {"toolCallCancellation": {"ids": [call]}},
            {"goAway": {"timeLeft": f"{random.randrange(60)}s"}},
            {"sessionResumptionUpdate": {"newHandle": "h", "resumable": random.random() < 0.8}},
            {"setupComplete": {}},
            {"voiceActivity": {"voiceActivityType": random.choice(("ACTIVITY_START", "ACTIVITY_END"))}},
        )
    )


async def step(random: Random, peer: ScriptedGemini, harness: Harness) -> None:
    """Something that somebody does."""
    match random.choice(("server",) * 8 + ("text", "text", "interrupt", "sound", "commit", "speech", "close", "other")):
        case "server":
            await peer.send(anything(random))
        case "text":
            await harness.send(UserText(text="go on"))
        case "interrupt":
            harness.interrupt()
        case "sound":
            await harness.send(*framed(tone(300, 100, rate=16_000), rate=16_000))
        case "commit":
            await harness.send(Commit())
        case "speech":
            await harness.send(SpeechStarted(item_id="v"))
        case "close":
            await peer.close(random.choice((1000, 1006, 1011)))
        case "other":
            await harness.send(random.choice((Respond(instructions="i"), ClearAudio(), Configure(instructions="n"))))


async def converse(seed: int) -> None:
    random, peer = Random(seed), ScriptedGemini("One two three.", "Four five six seven.")

    async def look() -> str:
        await anyio.sleep(random.random() * 5)
        return "seen"

    model = GeminiLive(
        random.choice(("gemini-2.5-flash", "gemini-3.1-flash-live-preview")),
        api_key="key",
        connect=peer.connect,
        tools=[look],
        background={"look": "WHEN_IDLE"} if random.random() < 0.5 else None,
        turn_detection=random.choice(("server_vad", None)),
        reconnect=ReconnectPolicy(max_attempts=100),  # it may break off often
    )
    async with Harness(model, Spoken(), Pacer()) as harness:
        for _ in range(60):
            await step(random, peer, harness)
            await anyio.sleep(random.choice((0.0, 0.0, 0.05, 0.5, 2.0)))
        await anyio.sleep(120)
        before = len(harness.of(ResponseEnded))
        await harness.send(UserText(text="and at last?"))
        await anyio.sleep(60)
        assert "completed" in [frame.outcome for frame in harness.of(ResponseEnded)[before:]]
        assert len(harness.of(ResponseStarted)) == len(harness.of(ResponseEnded))
        await harness.session.cancel()


@pytest.mark.timeout(120)
async def test_random_messages_are_survived() -> None:
    """The seed is part of the test, so a failure can be repeated."""
    await seeded(converse, range(SEEDS))
