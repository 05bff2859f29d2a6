"""WhisperEar with its real weights, and real speech."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import framed, silence
from bargein.services.cascade import Cascade, Transcribe
from bargein.services.providers import whisper
from bargein.services.providers.models import ModelFile, ModelFileError
from bargein.services.providers.whisper import WhisperEar, _model
from bargein.services.providers.whisper._text import read_tokens
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


async def aiter_of(*pieces: Any) -> AsyncGenerator[Any, None]:
    for each in pieces:
        yield each


def speech(name: str) -> Samples:
    return utterances()[name].samples


async def hear(ear: WhisperEar, sound: AsyncIterator[Samples]) -> str:
    """The last words."""
    text = ""
    async for text in ear.transcribe(sound):  # noqa: B007
        pass
    return text


async def test_it_understands_sentences() -> None:
    """Nearly all words are right."""
    wrong = total = 0
    async with WhisperEar(partial_seconds=0) as ear:
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

    def note(self: _model.Model, samples: Samples, prompt: Sequence[str]) -> str:
        at.append(sound.taken)
        return transcribe(self, samples, prompt)

    monkeypatch.setattr(_model.Model, "transcribe", note)
    async with WhisperEar(partial_seconds=0) as ear:
        assert words(await hear(ear, sound)) == words(utterances()["weather"].text)
        assert (ear.statistics().transcriptions, ear.statistics().stale) == (1, 0)
    assert len(at) == 1
    assert at[0] <= sound.taken - 18  # 360 ms before the end


async def test_speech_after_a_pause_is_heard_too() -> None:
    """What was transcribed in the pause is stale."""
    async with WhisperEar(partial_seconds=0) as ear:
        text = await hear(ear, Sound(speech("weather"), silence(400), speech("umbrella"), silence(100)))
        assert (ear.statistics().transcriptions, ear.statistics().stale) == (2, 1)
    assert {"weather", "paris", "umbrella", "tomorrow"} <= set(words(text))


async def test_words_come_while_somebody_speaks() -> None:
    """For captions and decisions by words; not more often than was asked for, and not of long speech."""
    sound = Sound(speech("umbrella"))
    async with WhisperEar(partial_seconds=0.5) as ear:
        texts = [(sound.taken, text) async for text in ear.transcribe(sound)]
        assert ear.statistics().transcriptions <= len(speech("umbrella")) / 8_000 + 1
        first, text = texts[0]
        assert first <= 60
        assert "will" in words(text)
        assert words(texts[-1][1]) == words(utterances()["umbrella"].text)
        loud = Sound(np.concatenate([speech("umbrella")[6_000:22_000]] * 10))
        assert [text async for text in ear.transcribe(loud)]
        assert ear.statistics().transcriptions <= 4 + 13


async def test_long_speech_is_heard_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 14 s: the words at the next pause stand, and are not transcribed again."""
    seconds: list[float] = []
    transcribe = _model.Model.transcribe

    def note(self: _model.Model, samples: Samples, prompt: Sequence[str]) -> str:
        seconds.append(len(samples) / WhisperEar.rate)
        return transcribe(self, samples, prompt)

    monkeypatch.setattr(_model.Model, "transcribe", note)
    names = [each.name for each in utterances().values() if each.ms > 2_000][:9]
    async with WhisperEar(partial_seconds=0) as ear:
        text = await hear(ear, Sound(*(part for name in names for part in (speech(name), silence(240)))))
    assert 14 < max(seconds) < 20
    assert seconds[seconds.index(max(seconds)) + 1] < 6
    said = [word for name in names for word in words(utterances()[name].text)]
    assert errors(said, words(text)) <= 0.15 * len(said)


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
        ticket = ear._model.queue.join(0)
        try:
            with pytest.raises(RuntimeError, match=r"WhisperEar\(max_waiting=0\): .*take fewer calls"):
                await hear(ear, Sound(speech("weather")))
        finally:
            ear._model.queue.leave(ticket)


async def test_the_wait_for_the_model_is_counted() -> None:
    """Two calls that end while the model is held by a third wait for it, and nothing is transcribed early."""
    async with WhisperEar() as ear:
        assert ear._model is not None
        ticket = ear._model.queue.join(0)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(hear, ear, Sound(speech("yes"), silence(300)))
            while ear.statistics().waiting < 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            ear._model.queue.leave(ticket)
        counted = ear.statistics()
    assert (counted.waiting, counted.transcriptions) == (0, 2)
    assert counted.waiting_peak >= 2
    assert counted.wait_ms >= counted.wait_ms_peak >= 0  # virtual time stands still while a thread waits


async def test_other_files_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash decides."""
    tiny = _model.PACKAGED["tiny.en"]
    wrong = ModelFile(sha256="0" * 64, parts=tiny.files["config.json"].parts)
    monkeypatch.setattr(_model, "_models", {})
    monkeypatch.setattr(_model, "PACKAGED", {"tiny.en": msgspec.structs.replace(tiny, files={"config.json": wrong})})
    with pytest.raises(ModelFileError, match=r"^WhisperEar: .*config\.json has the SHA-256 [0-9a-f]{64}, expected 000"):
        async with WhisperEar():
            pass


async def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    """Any model in CTranslate2's format."""
    for name in ("model.bin", "config.json", "vocabulary.txt"):
        (path,) = _model.PACKAGED["tiny.en"].files[name].paths
        shutil.copy(path, tmp_path / name)
    async with WhisperEar(tmp_path) as ear:
        assert "weather" in words(await hear(ear, Sound(speech("weather"), silence(300))))
    _model._models.pop((str(tmp_path), 1)).close()
    (tmp_path / "model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"the folder lacks model\.bin; copy all files"):
        WhisperEar(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"WhisperEar\(model='tiny'\): .*expected 'tiny\.en', 'base', or"):
        WhisperEar("tiny")


@pytest.mark.skipif(not whisper.is_installed("base"), reason="the extra 'whisper-base' is not installed")
@pytest.mark.parametrize("language", ["en-GB", ""], ids=["given", "detected"])
async def test_the_model_of_many_languages(language: str) -> None:
    async with WhisperEar("base", language=language, partial_seconds=0) as ear:
        assert words(await hear(ear, Sound(speech("umbrella"), silence(300)))) == words(utterances()["umbrella"].text)


@pytest.mark.skipif(not whisper.is_installed("base"), reason="the extra 'whisper-base' is not installed")
async def test_a_language_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match=r"WhisperEar\(language='xx'\): the model base does not know this language"):
        async with WhisperEar("base", language="xx"):
            pass


async def test_keywords_come_before_the_text() -> None:
    """As tokens of the model, and not too many."""
    async with WhisperEar(keywords=["Bargein", "Zürich"]) as ear:
        assert ear._prompt[0] == "<|startofprev|>"
        assert ear._prompt[-1] == "<|startoftranscript|>"
        assert read_tokens(ear._prompt, 1.0) == "Bargein, Zürich"
        assert "weather" in words(await hear(ear, Sound(speech("weather"), silence(300))))
    with pytest.raises(ValueError, match=r"keywords=\.\.\..*expected 200 or less"):
        async with WhisperEar(keywords=["Bargein"] * 100):
            pass


async def test_misuse_is_said() -> None:
    with pytest.raises(RuntimeError, match="WhisperEar is not open"):
        await hear(WhisperEar(), Sound(speech("yes")))
    for option in ("threads", "max_waiting", "partial_seconds"):
        with pytest.raises(ValueError, match=rf"WhisperEar\({option}=-1\): expected [01] or more"):
            WhisperEar(**{option: -1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"WhisperEar\(keywords='Bargein'\): expected a list"):
        WhisperEar(keywords="Bargein")
    with pytest.raises(ValueError, match=r"WhisperEar\(language='de'\): .*English only; use model='base'"):
        async with WhisperEar(language="de"):
            pass
    async with WhisperEar() as ear, aclosing(aiter_of(speech("yes").astype(np.int32))) as sound:
        with pytest.raises(ValueError, match="expected int16"):
            await hear(ear, sound)


def test_the_offline_brain_uses_it() -> None:
    (ear,) = [each.part for each in Cascade.offline().processors if isinstance(each, Transcribe)]
    assert isinstance(ear, WhisperEar)


@pytest.mark.parametrize("what", ["pass", "await leave_early(ear)"], ids=["idle", "in the middle of a transcription"])
def test_a_program_that_used_it_ends_cleanly(what: str, tmp_path: Path) -> None:
    """CTranslate2 aborts a process that destroys a model too late, or that ends while it is used."""
    program = tmp_path / "program.py"
    program.write_text(
        "import anyio\n"
        "import numpy as np\n"
        "from bargein.services.providers.whisper import WhisperEar\n"
        "async def sound():\n"
        "    yield np.random.default_rng(1).integers(-9000, 9000, 50_000).astype(np.int16)\n"
        "async def leave_early(ear):\n"
        "    async with anyio.create_task_group() as group:\n"
        "        group.start_soon(anext, ear.transcribe(sound()), '')\n"
        "        while not ear.statistics().transcriptions:\n"
        "            await anyio.sleep(0)\n"
        "        await anyio.sleep(0.1)  # the model is at work\n"
        "        group.cancel_scope.cancel()\n"
        "async def main():\n"
        "    async with WhisperEar(partial_seconds=0) as ear:\n"
        f"        {what}\n"
        "anyio.run(main)\n",
        encoding="utf-8",
    )
    run = subprocess.run([sys.executable, program], check=False, timeout=60, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
