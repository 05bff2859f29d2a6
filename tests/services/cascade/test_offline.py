"""The cascade of the parts that need neither key nor network: it hears, calls a tool and speaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, ToolCall
from bargein.pipeline.testing import Harness, framed, silence
from bargein.processors import Heard, Pacer, Spoken, Turn
from bargein.services.cascade import Cascade, Speak, TextToSpeech
from bargein.services.providers import offline, pocketsphinx
from bargein.services.providers._shared.sphinx_decoder import make_decoder
from bargein.services.providers.espeak import ESpeak
from bargein.services.providers.flite import Flite
from bargein.services.providers.rules import Rules
from tests.speech import utterances, words

from .parts import Voice

pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.virtual
@pytest.mark.parametrize("voice", [ESpeak, lambda: None], ids=["espeak", "the best there is"])
async def test_the_weather_in_paris(voice: Callable[[], TextToSpeech | None]) -> None:
    """A spoken question is understood, the tool is called, and the answer is heard."""
    said = np.concatenate([silence(500), utterances()["weather"].samples, silence(8000)])
    async with Harness(Cascade.offline(tts=voice()), Spoken(), Pacer()) as harness:
        await harness.play(list(framed(said)))
        await anyio.sleep(5)
        (turn,) = harness.of(Turn)
        assert {"weather", "paris"} <= set(words(turn.text))
        (call,) = harness.of(ToolCall)
        assert call.name == "weather"
        (heard,) = [frame.text for frame in harness.of(Heard) if frame.done and frame.text]
        assert "Paris" in heard
        assert "degrees" in heard
        assert any(np.any(frame.samples) for frame in harness.of(Audio) if frame.response_id)
        await harness.session.cancel()


@pytest.mark.virtual
async def test_its_model_can_be_loaded_before_the_first_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session takes what was loaded."""
    loads: list[object] = []

    def count(library: Any, options: dict[str, Any]) -> Any:
        loads.append(options)
        return make_decoder(library, options)

    monkeypatch.setattr(pocketsphinx, "make_decoder", count)
    monkeypatch.setattr(pocketsphinx, "_idle_decoders", defaultdict(list))
    monkeypatch.setattr(offline, "EARS", offline.EARS[-1:])
    await offline.preload_offline()
    async with Harness(Cascade.offline(tts=Voice())) as harness:
        await harness.session.cancel()
    assert len(loads) == 1


def test_its_voice_is_the_best_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the light ones Flite, where that program is; any part can be another, and the options are a cascade's."""

    def voice(brain: Cascade) -> object:
        (speak,) = [each for each in brain.processors if isinstance(each, Speak)]
        return speak.part

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(offline, "VOICES", [each for each in offline.VOICES if each.name != "Hibari"])
    assert isinstance(voice(Cascade.offline()), ESpeak)
    program = tmp_path / "flite"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert isinstance(voice(Cascade.offline()), Flite)
    mine = Voice()
    brain = Cascade.offline(
        tts=mine, llm=Rules(greeting="Ahoy."), tools=[], error_reply="Oh.", instructions="Be brief."
    )
    assert voice(brain) is mine
    assert (brain.answer.error_reply, brain.answer.instructions, len(brain.answer.runner.toolbox)) == (
        "Oh.",
        "Be brief.",
        0,
    )


def test_the_best_parts_that_are_there_are_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A better one that is missing is named once, with what to install; one without a module is no candidate."""
    installed: set[str] = set()
    missing = offline._Candidate("nothing", "Nothing", "nothing")
    ear = offline._Candidate("whisper", "WhisperEar", "whisper", lambda _: "whisper" in installed)
    voice = offline._Candidate("flite", "Flite", "voice", lambda _: "voice" in installed)
    monkeypatch.setattr(offline, "EARS", (missing, ear, offline.EARS[-1]))
    monkeypatch.setattr(offline, "VOICES", (missing, voice, offline.VOICES[-1]))
    monkeypatch.setattr(offline, "_logged", set())
    with caplog.at_level("INFO", "bargein.offline"):
        for _ in range(2):
            parts = offline.offline_parts()
    assert (type(parts.stt).__name__, type(parts.tts).__name__) == ("PocketSphinx", "ESpeak")
    assert [each.getMessage() for each in caplog.records] == [
        "the offline brain uses PocketSphinx and ESpeak; pip install 'bargein[whisper,voice]' is far better"
    ]
