"""The cascade of the parts that need neither key nor network: it hears, calls a tool and speaks."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from bargein.pipeline import Audio, ToolCall
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Heard, Pacer, Spoken, Turn
from bargein.services.cascade import Cascade
from bargein.services.espeak import ESpeak
from bargein.services.pocketsphinx import PocketSphinx
from bargein.services.rules import TOOLS, Rules

from ...speech import utterances

pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")


@pytest.mark.timeout(120)
@pytest.mark.virtual
async def test_the_weather_in_paris() -> None:
    """A spoken question is understood, the tool is called, and the answer is heard."""
    said = np.concatenate([silence(500), utterances()["weather"].samples, silence(8000)])
    async with Harness(Cascade(PocketSphinx(), Rules(), ESpeak(), tools=TOOLS), Spoken(), Pacer()) as harness:
        await harness.play(list(framed(said)))
        await anyio.sleep(5)
        (turn,) = harness.of(Turn)
        assert {"weather", "paris"} <= set(turn.text.lower().split())
        (call,) = harness.of(ToolCall)
        assert call.name == "weather"
        (heard,) = [frame.text for frame in harness.of(Heard) if frame.done and frame.text]
        assert "Paris" in heard
        assert "degrees" in heard
        assert any(np.any(frame.samples) for frame in harness.of(Audio) if frame.response)
        await harness.session.cancel()
