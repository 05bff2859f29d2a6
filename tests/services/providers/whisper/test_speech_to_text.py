"""WhisperEar with its real weights, and real speech."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import framed, silence
from bargein.services.cascade import Cascade, Transcribe
from bargein.services.providers import whisper
from bargein.services.providers.whisper import WhisperEar, _model
from tests.speech import errors, utterances, words

if not whisper.is_installed():
    pytest.skip("the extra 'whisper' is not installed", allow_module_level=True)

pytestmark = pytest.mark.virtual

SPOKEN = ("weather", "table", "music", "umbrella", "train")


class Sound(AsyncIterator[Samples]):
    """Arrays in pieces of 20 ms; it notes how many were taken."""

    def __init__(self, *parts: Samples) -> None:
        self._pieces = iter([each.samples for part in parts for each in framed(part)])
        self.taken = 0

    async def __anext__(self) -> Samples:
        await anyio.sleep(0.02)
        for piece in self._pieces:
            self.taken += 1
            return piece
        raise StopAsyncIteration


async def aiter_of(*pieces: Any) -> AsyncIterator[Any]:
    for each in pieces:
        yield each


def speech(name: str) -> Samples:
    return utterances()[name].samples


async def hear(ear: WhisperEar, sound: AsyncIterator[Samples]) -> str:
    return " ".join([text async for text in ear.transcribe(sound)])


async def test_it_understands_sentences() -> None:
    """Nearly all words are right."""
    wrong = total = 0
    async with WhisperEar() as ear:
        for name in SPOKEN:
            said = words(utterances()[name].text)
            total += len(said)
            wrong += errors(said, words(await hear(ear, Sound(speech(name), silence(500)))))
    assert wrong <= 0.05 * total


async def test_it_has_transcribed_before_the_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 ms into the silence, once; at the end nothing is left to do."""
    at: list[int] = []
    sound = Sound(speech("weather"), silence(600))
    transcribe = _model.Model.transcribe

    def note(self: _model.Model, samples: Samples, max_waiting: int) -> str:
        at.append(sound.taken)
        return transcribe(self, samples, max_waiting)

    monkeypatch.setattr(_model.Model, "transcribe", note)
    async with WhisperEar() as ear:
        assert words(await hear(ear, sound)) == words(utterances()["weather"].text)
    assert len(at) == 1
    assert at[0] <= sound.taken - 18  # 360 ms before the end


async def test_speech_after_a_pause_is_heard_too() -> None:
    """What was transcribed in the pause is stale."""
    async with WhisperEar() as ear:
        text = await hear(ear, Sound(speech("weather"), silence(400), speech("umbrella"), silence(100)))
    assert {"weather", "paris", "umbrella", "tomorrow"} <= set(words(text))


async def test_long_speech_is_heard_in_pieces() -> None:
    """More than 14 s: the words so far are given at the next pause, and are not transcribed again."""
    names = [each.name for each in utterances().values() if each.ms > 2_000][:9]
    sound = Sound(*(part for name in names for part in (speech(name), silence(240))))
    async with WhisperEar() as ear:
        texts = [text async for text in ear.transcribe(sound)]
    assert len(texts) == 2
    assert texts[1].startswith(texts[0])
    said = [word for name in names for word in words(utterances()[name].text)]
    assert errors(said, words(texts[1])) <= 0.15 * len(said)  # numbers are digits


def test_a_long_sound_is_cut_where_it_is_quietest() -> None:
    """If no pause was noticed, the model gets pieces of 20 s at most."""
    samples = np.full(50 * WhisperEar.rate, 1_000, np.int16)
    samples[17 * WhisperEar.rate :][: WhisperEar.rate] = 0
    pieces = _model._pieces(samples)
    assert 17 < len(pieces[0]) / WhisperEar.rate < 18
    assert all(len(each) <= 20 * WhisperEar.rate for each in pieces)
    assert np.array_equal(np.concatenate(pieces), samples)


@pytest.mark.parametrize("parts", [(), (silence(1000),)], ids=["nothing", "silence"])
async def test_silence_has_no_words(parts: tuple[Samples, ...]) -> None:
    async with WhisperEar() as ear:
        assert await hear(ear, Sound(*parts)) == ""


async def test_all_instances_share_one_model() -> None:
    async with WhisperEar() as one, WhisperEar() as other:
        assert one._model is other._model
        texts: list[str] = []

        async def call(ear: WhisperEar) -> None:
            texts.append(await hear(ear, Sound(speech("weather"), silence(300))))

        async with anyio.create_task_group() as group:
            for ear in (one, other, one):
                group.start_soon(call, ear)
    assert [words(each) for each in texts] == [words(utterances()["weather"].text)] * 3


async def test_too_many_utterances_are_an_error() -> None:
    """The model is held by another call; none may wait."""
    async with WhisperEar(max_waiting=0) as ear:
        assert ear._model is not None
        ear._model._callers += 1
        try:
            with pytest.raises(RuntimeError, match=r"WhisperEar\(max_waiting=0\): .*take fewer calls"):
                await hear(ear, Sound(speech("weather")))
        finally:
            ear._model._callers -= 1


async def test_other_files_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash decides."""
    monkeypatch.setattr(_model, "_models", {})
    monkeypatch.setattr(_model, "FILES", {"config.json": "0" * 64})
    with pytest.raises(RuntimeError, match=r"config\.json has the SHA-256 [0-9a-f]{64}, expected 0{64}"):
        async with WhisperEar():
            pass


async def test_misuse_is_said() -> None:
    with pytest.raises(RuntimeError, match="WhisperEar is not open"):
        await hear(WhisperEar(), Sound(speech("yes")))
    with pytest.raises(ValueError, match=r"WhisperEar\(threads=0\): expected 1 or more"):
        WhisperEar(threads=0)
    async with WhisperEar() as ear:
        with pytest.raises(ValueError, match="expected int16"):
            await hear(ear, aiter_of(speech("yes").astype(np.int32)))


def test_the_offline_brain_uses_it() -> None:
    (ear,) = [each.part for each in Cascade.offline().processors if isinstance(each, Transcribe)]
    assert isinstance(ear, WhisperEar)


def test_a_program_that_used_it_ends_cleanly(tmp_path: Path) -> None:
    """CTranslate2 aborts a process that destroys a model too late."""
    program = tmp_path / "program.py"
    program.write_text(
        "import anyio\n"
        "from bargein.services.providers.whisper import WhisperEar\n"
        "async def main():\n"
        "    async with WhisperEar():\n"
        "        pass\n"
        "anyio.run(main)\n",
        encoding="utf-8",
    )
    assert subprocess.run([sys.executable, program], check=False, timeout=60).returncode == 0
