"""ESpeak: a real voice."""

from __future__ import annotations

import ctypes
import re
from contextlib import aclosing
from itertools import pairwise

import anyio
import numpy as np
import pytest

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import Word
from bargein.services.providers import espeak
from bargein.services.providers.espeak import ESpeak, voices

pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")

SENTENCES = (
    "Hello there.",
    "Dr. Smith paid 25 dollars, in the middle of the well-known street; didn't he?",
    "“Yes,” I said – naïve as cafés are… OK!",
    "Say 🎉 日本 and stop.",
    "<b>Bold</b> & [[x]] stay as they are",
)


async def spoken(voice: ESpeak, text: str) -> tuple[Samples, list[Word]]:
    made = [each async for each in voice.speak(text)]
    sound = [each for each in made if not isinstance(each, Word)]
    words = [each for each in made if isinstance(each, Word)]
    return np.concatenate(sound or [np.zeros(0, np.int16)]), words


@pytest.mark.parametrize("text", SENTENCES)
async def test_words_are_timed(text: str) -> None:
    """Every word of the text is in one piece, in order; one begins where the one before ends; all within the sound."""
    sound, words = await spoken(ESpeak(), text)
    ms = len(sound) * 1000 / ESpeak.rate
    assert " ".join(word.text for word in words).split() == text.split()
    assert all(word.text in text for word in words)
    assert words[0].start_ms < 200
    assert all(one.end_ms == two.start_ms for one, two in pairwise(words))
    assert all(word.start_ms < word.end_ms for word in words)
    assert words[-1].end_ms == pytest.approx(ms, abs=0.1)
    assert np.abs(sound).max() > 3000


async def test_timings_are_of_the_words() -> None:
    """What sounds within the times of a word is the word: silence before it is given to the one before."""
    sound, words = await spoken(ESpeak(), "Wait. Stop.")
    assert [word.text for word in words] == ["Wait.", "Stop."]
    begins = int(words[1].start_ms * ESpeak.rate / 1000)
    assert np.abs(sound[begins - 1000 : begins - 200]).max() < 200
    assert np.abs(sound[begins : begins + 6000]).max() > 3000


@pytest.mark.parametrize("text", ["", "  \n", "\x00", "\ud83d"])
async def test_nothing_to_say(text: str) -> None:
    """Without words there is neither sound nor timing."""
    sound, words = await spoken(ESpeak(), text)
    assert not len(sound)
    assert not words


async def test_what_cannot_be_said_is_passed_over() -> None:
    """Control characters and broken surrogates are no reason to fail."""
    sound, words = await spoken(ESpeak(), "one\x00two \udc80 three")
    assert len(sound)
    assert [word.text for word in words] == ["one", "two", "three"]


async def test_options() -> None:
    """A slower one takes longer, a silent one is silent; each part keeps its own options.

    espeak-ng keeps state from one text to the next, so the length of the same text can vary by some milliseconds.
    """
    normal, slow, silent = ESpeak(), ESpeak(rate_wpm=90), ESpeak("en-gb", volume=0)
    first, _ = await spoken(normal, "One two three.")
    longer, _ = await spoken(slow, "One two three.")
    nothing, words = await spoken(silent, "One two three.")
    again, _ = await spoken(normal, "One two three.")
    assert len(longer) > 1.4 * max(len(first), len(again))
    assert not nothing.any()
    assert len(words) == 3


async def test_cancelled_in_the_middle() -> None:
    """The thread ends soon after, with most of the text unsaid, and the next sentence is spoken."""
    voice = ESpeak()
    with anyio.CancelScope() as scope:
        async with aclosing(voice.speak("and so on " * 20_000)) as made:
            async for _ in made:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    sound, words = await spoken(voice, "Next.")
    assert len(sound) > 1000
    assert [word.text for word in words] == ["Next."]


async def test_left_in_the_middle() -> None:
    """A generator that is closed early frees the library as well."""
    made = ESpeak().speak("and so on " * 20_000)
    assert isinstance(await anext(made), np.ndarray)
    await made.aclose()
    assert (await spoken(ESpeak(), "Next."))[1]


async def test_several_at_once() -> None:
    """They take turns, and none gets a sample or a word of another."""
    said: dict[str, tuple[Samples, list[Word]]] = {}
    texts = [f"This is number {each}." for each in ("one", "two", "three", "four")]

    async def say(text: str) -> None:
        said[text] = await spoken(ESpeak(), text)

    async with anyio.create_task_group() as tasks:
        for text in texts:
            tasks.start_soon(say, text)
    for text in texts:
        sound, words = said[text]
        assert " ".join(word.text for word in words) == text
        assert words[-1].end_ms == pytest.approx(len(sound) * 1000 / ESpeak.rate, abs=0.1)


async def test_an_unknown_voice() -> None:
    """It is an error that names it, at the first sentence, and harms nobody else."""
    with pytest.raises(ValueError, match=re.escape("ESpeak(voice='nobody'): espeak-ng has no such voice; voices()")):
        await spoken(ESpeak("nobody"), "Hello.")
    assert (await spoken(ESpeak(), "Hello."))[1]


@pytest.mark.parametrize(
    "options", [{"rate_wpm": 10}, {"pitch": 101}, {"volume": -1}, {"rate_wpm": 100.0}, {"voice": ""}]
)
def test_options_that_cannot_be(options: dict[str, int]) -> None:
    """They are named with their value."""
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=re.escape(f"ESpeak({name}={value!r}): expected")):
        ESpeak(**options)  # type: ignore[arg-type]


def test_voices() -> None:
    """There are many, and those of a language are some of them."""
    everyone, english = voices(), voices("en")
    assert len(everyone) > 100
    assert {each.language for each in english} >= {"en-us", "en-gb"}
    assert all(each.language.split("-")[0] == "en" for each in english)
    assert {each.name for each in english} < {each.name for each in everyone}
    assert [each.language for each in voices("en-gb-scotland")] == ["en-gb-scotland"]


async def test_a_voice_by_name() -> None:
    """What `voices` names can speak."""
    assert (await spoken(ESpeak(voices("en-gb-scotland")[0].name), "Aye."))[1]


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "espeakng_loader", None)
    with pytest.raises(ModuleNotFoundError, match=r"bargein\[espeak\]"):
        espeak.ESpeak()


FUNCTIONS = (
    "espeak_Initialize",
    "espeak_SetSynthCallback",
    "espeak_SetVoiceByName",
    "espeak_SetParameter",
    "espeak_Synth",
    "espeak_ListVoices",
)


async def test_the_library_is_as_relied_on() -> None:
    """What `espeak.py` says it relies on is so in the installed version; a sentence says what has changed."""
    library = espeak._library()
    for name in FUNCTIONS:
        assert hasattr(library, name), f"espeak-ng has no function {name} any more; look at espeak.py"
    pointer = ctypes.sizeof(ctypes.c_void_p)
    assert ctypes.sizeof(espeak._Event) == 24 + pointer + 8, "espeak_EVENT has another layout than in speak_lib.h"
    assert all(re.fullmatch(r"[a-z]{2,4}(-[\w-]+)?", each.language) for each in voices()), (
        "espeak_VOICE has other first fields than a name and a list of languages"
    )
    _, words = await spoken(ESpeak(), "one two three")
    assert [word.text for word in words] == ["one", "two", "three"], "the events of espeak_EVENT are read wrongly"
