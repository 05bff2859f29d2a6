"""Flite: a real voice."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import anyio
import numpy as np
import pytest

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import Word
from bargein.services.providers.flite import Flite

pytestmark = pytest.mark.needs("flite")


async def spoken(voice: Flite, text: str) -> Samples:
    made = [each async for each in voice.speak(text)]
    sound = [each for each in made if not isinstance(each, Word)]
    assert len(sound) == len(made)
    return np.concatenate(sound or [np.zeros(0, np.int16)])


@pytest.mark.parametrize(
    "text", ["What is the weather in Paris?", "“Naïve” cafés – 🎉 yes…", "-voice rms", "one\x00two", "25 < 26 & 'so'"]
)
async def test_it_speaks(text: str) -> None:
    """Whatever there is to say."""
    sound = await spoken(Flite(), text)
    assert sound.dtype == np.int16
    assert 0.4 < len(sound) / Flite.rate < 4
    assert np.abs(sound).max() > 3000


@pytest.mark.parametrize("text", ["", " \n", "...", "日本"])
async def test_nothing_to_say(text: str) -> None:
    """Without anything that it can say there is no sound."""
    assert not len(await spoken(Flite(), text))


async def test_options() -> None:
    """A stretched one takes longer; another voice sounds differently."""
    normal = await spoken(Flite(), "One two three.")
    slow = await spoken(Flite(stretch=2), "One two three.")
    other = await spoken(Flite("rms"), "One two three.")
    assert len(slow) > 1.6 * len(normal)
    assert len(other) != len(normal)


async def test_several_at_once() -> None:
    """Each has a program of its own."""
    said: list[int] = []

    async def say(text: str) -> None:
        said.append(len(await spoken(Flite(), text)))

    async with anyio.create_task_group() as tasks:
        for count in (1, 2, 3):
            tasks.start_soon(say, "word " * count)
    assert len(set(said)) == 3


async def test_cancelled() -> None:
    """The program is killed, and the next sentence is spoken."""
    voice = Flite()
    await spoken(voice, "First.")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spoken, voice, "and so on, and so on. " * 2000)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert len(await spoken(voice, "Next."))


@pytest.mark.parametrize(("voice", "error", "match"), [
    ("nobody", ValueError, "Flite(voice='nobody'): its voices are"),
    ("kal", RuntimeError, "flite's voice 'kal' speaks at 8000 Hz; choose one of 16000 Hz"),
])  # fmt: skip
async def test_a_voice_that_cannot_be(voice: str, error: type[Exception], match: str) -> None:
    """The error names the voice, and what would do."""
    with pytest.raises(error, match=re.escape(match)):
        await spoken(Flite(voice), "Hello.")


async def test_a_program_that_fails(tmp_path: Path) -> None:
    """Its own words are in the error."""
    program = tmp_path / "flite"
    program.write_text(
        '#!/bin/sh\n[ "$1" = -lv ] && echo "Voices available: slt" && exit 0\necho "no paper" >&2; exit 3\n'
    )
    program.chmod(0o755)
    with pytest.raises(RuntimeError, match="ended with 3: no paper"):
        await spoken(Flite(program=str(program)), "Hello.")


async def test_a_program_that_makes_nothing(tmp_path: Path) -> None:
    """That is an error too."""
    program = tmp_path / "flite"
    program.write_text('#!/bin/sh\necho "Voices available: slt"\n')
    program.chmod(0o755)
    with pytest.raises(RuntimeError, match="flite made no sound"):
        await spoken(Flite(program=str(program)), "Hello.")


def test_what_cannot_be() -> None:
    """A missing program is named with how to install it; a stretch with its value."""
    with pytest.raises(FileNotFoundError, match="'no-such-flite', which is not installed; apt install flite"):
        Flite(program="no-such-flite")
    with pytest.raises(ValueError, match=re.escape("Flite(stretch=0): expected")):
        Flite(stretch=0)


async def test_the_tests_speech_is_its_own() -> None:
    """It says what the recorded utterances say, about as long."""
    with wave.open(str(Path(__file__).parents[2] / "data" / "speech" / "weather.wav")) as file:
        recorded = file.getnframes()
    assert len(await spoken(Flite("slt"), "What is the weather in Paris?")) == pytest.approx(recorded, rel=0.3)
