"""Piper: the library with a voice that says each phoneme for 10 ms, and 10 ms of nothing behind it."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Text
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness
from bargein.processors import Timing
from bargein.services.cascade import Speak
from bargein.services.cascade.parts import Word
from bargein.services.providers.piper import Piper

pytest.importorskip("piper", reason="the extra 'piper' is not installed")
pytest.importorskip("onnx", reason="the extra 'piper' is not installed")

from . import tiny_piper

pytestmark = pytest.mark.virtual


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_piper.make(tmp_path)


async def spoken(voice: Piper, text: str) -> tuple[list[Samples], list[Word]]:
    async with voice:
        made = [each async for each in voice.speak(text)]
    return [each for each in made if not isinstance(each, Word)], [each for each in made if isinstance(each, Word)]


async def test_each_sentence_is_a_piece_of_sound(model: Path) -> None:
    """Full 16-bit samples, as long as the phonemes say, at the rate of the voice's description."""
    voice = Piper(model)
    sound, words = await spoken(voice, "Hello there. And you?")
    assert voice.rate == tiny_piper.RATE
    assert len(sound) == 2
    assert all(piece.dtype == np.int16 and piece.ndim == 1 and np.abs(piece).max() > 32_000 for piece in sound)
    assert words[-1].end_ms == sum(map(len, sound)) * 1000 / voice.rate


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello there. It is late!", ["Hello", "there.", "It", "is", "late!"]),
        ("It costs 25 dollars, in the\nend.", ["It", "costs", "25", "dollars,", "in", "the", "end."]),
        ("I said – yes", ["I", "said –", "yes"]),
        ("Say 🎉 and [[stop]].", None),
        ("日本 ok", ["日本", "ok"]),
    ],
)
async def test_words_are_timed(model: Path, text: str, pieces: list[str] | None) -> None:
    """Every word is in one piece, in order; one begins where the one before ends, save for the pause of a sentence."""
    sound, words = await spoken(Piper(model), text)
    assert " ".join(word.text for word in words).split() == text.split()
    assert pieces in (None, [word.text for word in words])
    assert all(word.start_ms < word.end_ms for word in words)
    assert all(0 <= two.start_ms - one.end_ms <= 20 for one, two in pairwise(words))
    assert words[-1].end_ms == sum(map(len, sound)) / 16


async def test_timings_are_of_the_words(model: Path) -> None:
    """A word's time is that of its phonemes, 20 ms for each: of `^sˈiː mˌiː.$`, where the last is 10 ms."""
    _, words = await spoken(Piper(model), "See me.")
    assert [(word.start_ms, word.end_ms) for word in words] == [(20, 120), (120, 230)]


async def test_a_voice_that_does_not_tell(model: Path) -> None:
    """Sound alone: whoever listens spreads the words over it."""
    import onnx  # noqa: PLC0415

    silent = onnx.load(str(model))
    del silent.graph.output[1]
    (ceil,) = [node for node in silent.graph.node if node.op_type == "Ceil"]
    ceil.op_type = "Identity"
    onnx.save(silent, str(model))
    sound, words = await spoken(Piper(model), "Hello there.")
    assert len(sound) == 1
    assert not words


async def test_the_description_and_the_options_say_how(tmp_path: Path) -> None:
    """Slower by both; silent; one of several speakers, by name or number."""
    speakers = {"num_speakers": 2, "speaker_id_map": {"anna": 0, "bob": 1}}
    model = tiny_piper.make(tmp_path, inference={"length_scale": 2.0}, **speakers)
    ((normal,), _), ((slow,), _) = await spoken(Piper(model), "Hello."), await spoken(Piper(model, stretch=2), "Hello.")
    assert len(slow) == 2 * len(normal)
    ((nothing,), _) = await spoken(Piper(model, volume=0, speaker="bob"), "Hello.")
    assert not nothing.any()
    ((raw,), _) = await spoken(Piper(model, speaker=1, extra={"normalize_audio": False}), "Hello.")
    assert len(raw) == len(normal)


@pytest.mark.parametrize("text", ["", "  \n", "\x00", "…!", "\ud83d", "🎉"])
async def test_nothing_to_say(model: Path, text: str) -> None:
    """Without a letter or a digit there is neither sound nor timing."""
    assert await spoken(Piper(model), text) == ([], [])


async def test_what_cannot_be_said_is_passed_over(model: Path) -> None:
    """Control characters and broken surrogates are no reason to fail."""
    _, words = await spoken(Piper(model), "one\x00two \udc80 three")
    assert [word.text for word in words] == ["one", "two", "three"]


async def test_cancelled_in_the_middle(model: Path) -> None:
    """The rest of the sentences are not made, and the next text is spoken."""
    voice = Piper(model)
    async with voice:
        with anyio.CancelScope() as scope:
            async with aclosing(voice.speak("And so on. " * 200)) as made:
                async for _ in made:
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert [each.text async for each in voice.speak("Next.") if isinstance(each, Word)] == ["Next."]


async def test_several_sessions_share_one(model: Path) -> None:
    """They take turns, sentence by sentence, and none gets a word of another."""
    voice, said = Piper(model), dict[str, str]()

    async def session(text: str) -> None:
        async with voice:
            said[text] = " ".join([each.text async for each in voice.speak(text) if isinstance(each, Word)])

    texts = [f"This is {each}. And that is all." for each in ("one", "two", "three")]
    async with anyio.create_task_group() as group:
        for text in texts:
            group.start_soon(session, text)
    assert said == {text: text for text in texts}
    with pytest.raises(RuntimeError, match="Piper is not open"):
        await anext(voice.speak("Hello."))


async def test_in_a_cascade(model: Path) -> None:
    """Its words are timings; what goes wrong is a failure."""
    async with Harness(Speak(Piper(model))) as harness:
        await harness.send(
            Text(text="See me.", response_id="r", item_id="i"), Text(text="See me.", response_id="r", item_id="i")
        )
        await harness.end()
    assert [each.start_ms for each in harness.of(Timing)] == [20, 120, 250, 350]
    assert sum(frame.ms for frame in harness.of(Audio)) == 460
    async with Harness(Speak(Piper(model, extra={"noise_scale": "x"}))) as harness:
        await harness.send(Text(text="See me.", response_id="r", item_id="i"))
        await harness.end()
    (failure,) = harness.of(Failure)
    assert "Piper failed at a text of 7 characters" in failure.message


# What may be wrong ------------------------------------------------------------------------------------------------


def test_the_voice_is_missing(tmp_path: Path) -> None:
    """Or its description; nothing is downloaded, and it says how to have them."""
    with pytest.raises(
        FileNotFoundError, match=r"Piper\('en_US-lessac-medium'\): there is no voice at .*download_voices"
    ):
        Piper("en_US-lessac-medium")
    model = tiny_piper.make(tmp_path)
    described = tmp_path / "voice.onnx.json"
    described.rename(tmp_path / "other.json")
    with pytest.raises(FileNotFoundError, match=re.escape(f"no description of the voice at {str(described)!r}")):
        Piper(model)
    assert Piper(str(model), config=tmp_path / "other.json").rate == tiny_piper.RATE


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"audio": None}, "audio"),
        ({"audio": {"sample_rate": "16000"}}, "sample_rate"),
        ({"audio": {"sample_rate": 0}}, "0 Hz"),
        ({"phoneme_id_map": [1]}, "phoneme_id_map"),
        ({"espeak": None}, "espeak"),
    ],
)
def test_the_description_is_broken(tmp_path: Path, fields: dict[str, Any], match: str) -> None:
    """It says what of it."""
    model = tiny_piper.make(tmp_path, **fields)
    with pytest.raises(ValueError, match=f"voice.onnx.json.*{match}"):
        Piper(model)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_the_description_is_none(model: Path, content: bytes) -> None:
    """Whatever is no JSON object."""
    Path(f"{model}.json").write_bytes(content)
    with pytest.raises(ValueError, match="describes no voice"):
        Piper(model)


async def test_the_voice_is_broken(model: Path) -> None:
    """It is an error on entering."""
    os.truncate(model, 1000)
    with pytest.raises(RuntimeError, match=re.escape(f"Piper({str(model)!r}): the voice cannot be loaded")):
        await Piper(model).__aenter__()


def test_chinese_needs_another_model(tmp_path: Path) -> None:
    """The library would download it at the first sentence."""
    model = tiny_piper.make(tmp_path, phoneme_type="pinyin")
    with pytest.raises(FileNotFoundError, match=r"its Chinese needs .*g2pW"):
        Piper(model)


@pytest.mark.parametrize("speaker", ["carol", 2, -1])
def test_an_unknown_speaker(tmp_path: Path, speaker: str | int) -> None:
    """It says who there is."""
    model = tiny_piper.make(tmp_path, num_speakers=2, speaker_id_map={"anna": 0, "bob": 1})
    with pytest.raises(ValueError, match=re.escape(f"Piper(speaker={speaker!r}): the voice has anna, bob")):
        Piper(model, speaker=speaker)


@pytest.mark.parametrize("options", [{"stretch": 0.0}, {"volume": -1.0}, {"concurrency": 0}])
def test_what_cannot_be(model: Path, options: dict[str, Any]) -> None:
    """Numbers that mean nothing."""
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=re.escape(f"Piper({name}={value!r}): expected")):
        Piper(model, **options)


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(ModuleNotFoundError, match=r"bargein\[piper\]"):
        Piper(model)


def test_the_description_is_as_the_library_reads_it(model: Path) -> None:
    """What is read here of it is the library's, too."""
    config = __import__("piper").PiperConfig.from_dict(json.loads(Path(f"{model}.json").read_text()))
    assert (config.sample_rate, config.length_scale, config.num_speakers) == (Piper(model).rate, 1, 1)
