"""Hibari with its real weights."""

from __future__ import annotations

import itertools
import sys

import anyio
import msgspec
import numpy as np
import pytest

from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Spoken
from bargein.services.cascade import Cascade
from bargein.services.cascade.parts import Word
from bargein.services.frames import Say
from bargein.services.providers import hibari
from bargein.services.providers.hibari import Hibari, _model
from bargein.services.providers.models import HIBARI

pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
if not hibari.is_installed():
    pytest.skip("the extra 'hibari' is not installed", allow_module_level=True)

pytestmark = pytest.mark.virtual


async def speak(voice: Hibari, text: str) -> tuple[list[Samples], list[Word]]:
    pieces, words = list[Samples](), list[Word]()
    async for each in voice.speak(text):
        if isinstance(each, Word):
            words.append(each)
        else:
            pieces.append(each)
    return pieces, words


async def test_it_speaks() -> None:
    """Sound, after at most 80 ms of silence, and every word in its order."""
    async with Hibari() as voice:
        (sound,), words = await speak(voice, "What is the weather in Paris?")
    assert sound.dtype == np.int16
    assert 1 < len(sound) / voice.rate < 3
    assert np.flatnonzero(np.abs(sound) > 500)[0] < 0.08 * voice.rate
    assert np.abs(sound).max() > 8_000
    assert [each.text for each in words] == ["What", "is", "the", "weather", "in", "Paris"]
    assert all(one.end_ms <= other.start_ms for one, other in itertools.pairwise(words))
    assert words[-1].end_ms < 1000 * len(sound) / voice.rate


async def test_words_sound_when_it_says() -> None:
    """Between two words with a pause there is a quiet moment; within them there is sound."""
    async with Hibari() as voice:
        (sound,), (one, other) = await speak(voice, "Butter; marmalade.")
    level = [np.abs(sound[24 * at :][: 24 * 25]).mean() for at in range(0, int(other.end_ms), 25)]
    quietest = 25 * (6 + np.argmin(level[6:24]))  # between 150 and 600 ms
    assert one.end_ms <= quietest + 25 <= other.start_ms + 50
    for each in (one, other):
        assert np.mean(level[int(each.start_ms / 25) : int(each.end_ms / 25)]) > 0.2 * max(level)


async def test_a_long_text_comes_in_parts() -> None:
    """The times of words count from the beginning of the text."""
    text = "First of all there is a long clause with many words, and then there is another one. Then an end."
    async with Hibari() as voice:
        pieces, words = await speak(voice, text)
    assert len(pieces) == 3
    assert [each.text for each in words] == text.replace(",", "").replace(".", "").split()
    begins = {each.text: each.start_ms for each in words}
    assert begins["and"] >= 1000 * len(pieces[0]) / voice.rate
    assert begins["Then"] >= 1000 * (len(pieces[0]) + len(pieces[1])) / voice.rate


async def test_speed() -> None:
    async with Hibari(speed=0.7) as slow, Hibari(speed=1.5) as fast:
        lengths = [len((await speak(each, "One two three four."))[0][0]) for each in (slow, fast)]
    assert lengths[0] > 1.6 * lengths[1]


async def test_pronunciations() -> None:
    """A word can be said as another one."""
    async with Hibari() as plain, Hibari(pronunciations={"bargein": "barge in"}) as voice:
        (one,), words = await speak(voice, "Bargein.")
        (other,), _ = await speak(plain, "barge in.")
    assert np.array_equal(one, other)
    assert [each.text for each in words] == ["Bargein"]


@pytest.mark.parametrize("text", ["", " \n", "...", "🎉"])
async def test_nothing_to_say(text: str) -> None:
    async with Hibari() as voice:
        assert await speak(voice, text) == ([], [])


@pytest.mark.parametrize(
    "text", ["日本", "“Naïve” cafés – yes…", "25 < 26 & 'so'", "x" * 300, "don’t", "a" * 5_000 + " b"]
)
async def test_anything_can_be_said(text: str) -> None:
    async with Hibari() as voice:
        pieces, _ = await speak(voice, text)
    assert all(each.dtype == np.int16 for each in pieces)


async def test_calls_share_one_model() -> None:
    """Each says the same."""
    made: list[Samples] = []

    async def say(voice: Hibari) -> None:
        made.append(np.concatenate((await speak(voice, "Good morning."))[0]))

    async with Hibari() as one, Hibari() as other:
        assert one._model is other._model
        async with anyio.create_task_group() as group:
            for voice in (one, other, one):
                group.start_soon(say, voice)
    assert all(np.array_equal(made[0], each) for each in made)


async def test_its_code_is_not_imported() -> None:
    async with Hibari() as voice:
        await speak(voice, "Yes.")
    assert "hibari" not in sys.modules


async def test_other_files_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash decides."""
    monkeypatch.setattr(_model, "_loaded", [])
    vocabulary = msgspec.structs.replace(HIBARI.files["vocab.json"], sha256="0" * 64)
    monkeypatch.setattr(_model, "HIBARI", msgspec.structs.replace(HIBARI, files={"vocab.json": vocabulary}))
    with pytest.raises(RuntimeError, match=r"Hibari: .*vocab\.json has the SHA-256 [0-9a-f]{64}, expected 0{64}"):
        async with Hibari():
            pass


@pytest.mark.parametrize(("options", "message"), [
    ({"speed": 3.0}, r"Hibari\(speed=3\.0\): expected from 0\.5"),
    ({"pronunciations": {"two words": "x"}}, "expected a single word"),
    ({"pronunciations": {"word": "/7/"}}, "'7' is not among the phonemes"),
    ({"pronunciations": {"word": "/kæt"}}, "expected the phonemes .* between slashes"),
    ({"pronunciations": {"word": "!"}}, "expected words to read instead"),
])  # fmt: skip
def test_misuse_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hibari(**options)  # type: ignore[arg-type]


def test_a_speed_of_another_type_is_named() -> None:
    with pytest.raises(TypeError, match=r"Hibari\(speed='fast'\): expected a number"):
        Hibari(speed="fast")  # type: ignore[arg-type]


async def test_it_must_be_open() -> None:
    with pytest.raises(RuntimeError, match="Hibari is not open"):
        await speak(Hibari(), "Yes.")


async def test_heard_words_are_exact_in_a_cascade() -> None:
    """Where an interrupt cuts the sound, the history ends with the last whole word of the sound before."""
    text = "Good morning, this is a sentence with many words."
    async with Hibari() as voice:
        _, words = await speak(voice, text)
    async with Harness(Cascade.offline(tts=Hibari()), Spoken(), Pacer()) as harness:
        await harness.send(Say(text))
        await anyio.sleep((words[4].end_ms + 30) / 1000)  # "a" is heard
        harness.session.interrupt()
        await anyio.sleep(1)
        (heard,) = [frame.text for frame in harness.of(Heard) if frame.done]
        await harness.session.cancel()
    assert heard == "Good morning, this is a"
