"""FasterWhisper: the library with a model that counts, one word for each half second of noise."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Failure, SpeechStarted, SpeechStopped, Transcript
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness, framed, noise
from bargein.services.cascade import Transcribe
from bargein.services.providers.faster_whisper import FasterWhisper

pytest.importorskip("faster_whisper", reason="the extra 'faster-whisper' is not installed")

from . import tiny_whisper

pytestmark = pytest.mark.virtual


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper.make(tmp_path_factory.mktemp("whisper"))


class Sound(AsyncIterator[Samples]):
    """Noise in pieces of a tenth of a second, at the speed of speech."""

    def __init__(self, seconds: float, pace: float = 1.0) -> None:
        self._pieces = iter(np.array_split(noise(1000 * seconds), round(10 * seconds)))
        self._pace = pace

    async def __anext__(self) -> Samples:
        for piece in self._pieces:
            await anyio.sleep(0.1 * self._pace)
            return piece
        raise StopAsyncIteration


async def heard(ear: FasterWhisper, seconds: float, pace: float = 1.0) -> list[str]:
    return [text async for text in ear.transcribe(Sound(seconds, pace))]


async def test_words_grow_while_it_is_spoken(folder: Path) -> None:
    """All of the utterance so far is heard again once a second, and the last time at its end."""
    async with FasterWhisper(folder) as ear:
        assert await heard(ear, 3.5) == [
            "one two",
            "one two three four",
            "one two three four five six",
            "one two three four five six seven",
        ]


async def test_partial_words_may_be_others_or_none(folder: Path) -> None:
    """More often, or only at the end; what has not changed is not said again."""
    async with FasterWhisper(str(folder), partial_seconds=0.5) as ear:
        assert await heard(ear, 1.6) == ["one", "one two", "one two three"]
    async with FasterWhisper(folder, partial_seconds=0) as ear:
        assert await heard(ear, 1.6) == ["one two three"]


async def test_sound_that_comes_at_once_is_heard_once(folder: Path) -> None:
    """As it does after a model that was slow: it does not run after what it cannot catch."""
    async with FasterWhisper(folder) as ear:
        assert await heard(ear, 4.0, pace=0) == ["one two three four five six seven eight"]


@pytest.mark.parametrize("samples", [[], [np.zeros(0, np.int16)], [np.zeros(1, np.int16)], [np.zeros(8000, np.int16)]])
async def test_nothing_was_said(folder: Path, samples: list[Samples]) -> None:
    """No sound, a click, silence."""

    class Pieces(AsyncIterator[Samples]):
        async def __anext__(self) -> Samples:
            if samples:
                return samples.pop()
            raise StopAsyncIteration

    async with FasterWhisper(folder) as ear:
        assert [text async for text in ear.transcribe(Pieces())] == []


async def test_several_sessions_share_one(folder: Path) -> None:
    """The model is loaded once, by the first that enters, and is there until the last has left."""
    ear, texts = FasterWhisper(folder), list[str]()

    async def session(seconds: float) -> None:
        async with ear:
            texts.append((await heard(ear, seconds))[-1])

    async with anyio.create_task_group() as group:
        for seconds in (0.6, 1.1, 1.6):
            group.start_soon(session, seconds)
    assert texts == ["one", "one two", "one two three"]
    with pytest.raises(RuntimeError, match="not open"):
        await heard(ear, 0.6)
    async with ear:
        assert await heard(ear, 0.6) == ["one"]


async def test_several_at_once(folder: Path) -> None:
    """In as many threads as it has; the others wait for one of them, and are seen to."""
    texts: list[str] = []
    async with FasterWhisper(folder, concurrency=2) as ear:

        async def hear() -> None:
            texts.extend(await heard(ear, 0.6, pace=0))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(hear)
        counted = ear.statistics()
    assert texts == ["one"] * 5
    assert (counted.sessions, counted.working, counted.waiting, counted.waiting_peak) == (1, 0, 0, 3)


async def test_cancelled_in_the_middle(folder: Path) -> None:
    """The next utterance is heard as if nothing had been."""
    async with FasterWhisper(folder) as ear:
        with anyio.CancelScope() as scope:
            async with aclosing(ear.transcribe(Sound(3))) as texts:
                async for _ in texts:
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        with anyio.CancelScope() as scope:
            scope.cancel()
            await heard(ear, 1, pace=0)
        assert scope.cancelled_caught
        assert await heard(ear, 0.6) == ["one"]


async def test_cancelled_while_it_loads(folder: Path) -> None:
    """Another session that waits for the model loads it itself."""
    ear, given_up, texts = FasterWhisper(folder), anyio.CancelScope(), list[str]()

    async def first() -> None:
        with given_up:
            await ear.__aenter__()

    async def second() -> None:
        async with ear:
            texts.extend(await heard(ear, 0.6))

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        given_up.cancel()
    assert texts == ["one"]


async def test_in_a_cascade(folder: Path) -> None:
    """Utterances become transcripts, and a fault a failure."""
    async with Harness(Transcribe(FasterWhisper(folder))) as harness:
        await harness.send(SpeechStarted(item_id="a"), *framed(noise(700)), SpeechStopped(item_id="a"))
        await harness.end()
    assert [(frame.text, frame.final) for frame in harness.of(Transcript)][-1] == ("one", True)
    async with Harness(Transcribe(FasterWhisper(folder, extra={"beam_size": 0}))) as harness:
        await harness.send(SpeechStarted(item_id="a"), *framed(noise(700)), SpeechStopped(item_id="a"))
        await harness.end()
    (failure,) = harness.of(Failure)
    assert "FasterWhisper failed while it listened with {" in failure.message


async def test_an_option_is_the_librarys(folder: Path) -> None:
    """It is laid over ours."""
    async with FasterWhisper(folder, extra={"max_new_tokens": 2}) as ear:
        assert await heard(ear, 3, pace=0) == ["one two"]


# What may be wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "Systran/faster-whisper-tiny", "/no/such/folder"])
def test_a_name_of_a_hub_is_no_folder(name: str) -> None:
    """Nothing is downloaded, and it says how to have it."""
    with pytest.raises(FileNotFoundError, match=re.escape(f"FasterWhisper({name!r}): there is no such folder")):
        FasterWhisper(name)


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json"])
def test_a_file_is_missing(folder: Path, tmp_path: Path, name: str) -> None:
    """It is named; the library would get another tokenizer from a hub."""
    copied = shutil.copytree(folder, tmp_path / "copy")
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"it lacks {re.escape(name)}, and nothing is downloaded"):
        FasterWhisper(copied)


@pytest.mark.parametrize("name", ["model.bin", "vocabulary.json", "config.json", "tokenizer.json"])
async def test_a_file_is_broken(folder: Path, tmp_path: Path, name: str) -> None:
    """It is an error on entering, which names the model; and it may be entered again when that is mended."""
    copied = shutil.copytree(folder, tmp_path / "copy")
    whole = (copied / name).read_bytes()
    os.truncate(copied / name, len(whole) // 2)
    ear = FasterWhisper(copied)
    with pytest.raises(RuntimeError, match=re.escape(f"FasterWhisper({str(copied)!r}): the model cannot be loaded")):
        await ear.__aenter__()
    (copied / name).write_bytes(whole)
    async with ear:
        assert await heard(ear, 0.6) == ["one"]


async def test_a_language_that_the_model_does_not_know(folder: Path) -> None:
    """It names those that it does; a region is no matter."""
    async with FasterWhisper(folder, language="en-GB") as ear:
        assert (ear.language, await heard(ear, 0.6)) == ("en-GB", ["one"])
    with pytest.raises(ValueError, match=re.escape("FasterWhisper(language='de'): the model knows en;")):
        await FasterWhisper(folder, language="de").__aenter__()


def test_what_cannot_be(folder: Path) -> None:
    """Numbers that mean nothing."""
    with pytest.raises(ValueError, match=re.escape("FasterWhisper(partial_seconds=-1)")):
        FasterWhisper(folder, partial_seconds=-1)
    with pytest.raises(ValueError, match=re.escape("FasterWhisper(concurrency=0)")):
        FasterWhisper(folder, concurrency=0)


async def test_a_wrong_kind_of_sound(folder: Path) -> None:
    """It is an error that says what was expected."""

    class Floats(AsyncIterator[Any]):
        async def __anext__(self) -> Any:
            return np.zeros(320, np.float32)

    async with FasterWhisper(folder) as ear:
        with pytest.raises(ValueError, match="float32 with shape"):
            await anext(ear.transcribe(Floats()))


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ModuleNotFoundError, match=r"bargein\[faster-whisper\]"):
        FasterWhisper(folder)
