"""Sessions of GeminiLive with a scripted server."""

from __future__ import annotations

from typing import Any

import numpy as np

from bargein.pipeline import ResponseEnded, Text
from bargein.pipeline.testing import Harness, silence, tone
from bargein.processors import Pacer, Spoken
from bargein.services.providers.gemini import GeminiLive
from bargein.services.testing import ScriptedGemini

STORY = "Once upon a time there was a king who had three sons and no time to listen to any of them at all."
VOICE = np.concatenate([tone(300, 1000, rate=16_000), silence(1000, rate=16_000)])


def model(peer: ScriptedGemini, **options: Any) -> GeminiLive:
    return GeminiLive(api_key="key", connect=peer.connect, **options)


def session(brain: GeminiLive) -> Harness:
    return Harness(brain, Spoken(), Pacer())


def said(harness: Harness, response: str) -> str:
    return "".join(frame.text for frame in harness.of(Text) if frame.response_id == response)


async def until(harness: Harness, outcome: str = "completed") -> ResponseEnded:
    """The next response that ends so."""
    while (ended := await harness.next(ResponseEnded, within_seconds=120)).outcome != outcome:
        pass
    return ended
