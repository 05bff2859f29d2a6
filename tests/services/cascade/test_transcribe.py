"""Transcribe: the words of each utterance, by its item."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Failure, Frame, SpeechStarted, SpeechStopped, Transcript
from bargein.pipeline.lowlevel import Samples
from bargein.pipeline.testing import Harness, check_processor, framed, tone
from bargein.processors import Commit, TurnControl, Vad
from bargein.services.cascade import SpeechToText, Transcribe
from bargein.services.frames import ClearAudio, Say
from tests.speech import utterances

from .parts import Ears

pytestmark = pytest.mark.virtual


def spoken(item: str, ms: float = 200) -> list[Frame]:
    return [SpeechStarted(item_id=item), *framed(tone(ms=ms)), SpeechStopped(item_id=item)]


def words(harness: Harness) -> list[tuple[str, str, bool]]:
    return [(frame.item_id, frame.text, frame.final) for frame in harness.of(Transcript)]


async def test_partials_grow_and_the_last_is_final() -> None:
    """All with the item of the speech; the sound is consumed, its bounds pass."""
    ears = Ears("good morning", seconds=0.1)
    async with Harness(Transcribe(ears)) as harness:
        await harness.send(*spoken("a"))
        await harness.end()
    assert words(harness) == [("a", "good", False), ("a", "good morning", False), ("a", "good morning", True)]
    assert ears.heard_ms == [200]
    assert not harness.of(Audio)
    assert len(harness.of(SpeechStarted)) == len(harness.of(SpeechStopped)) == 1


async def test_what_is_not_speech_is_not_heard() -> None:
    """Nor is the agent's own sound."""
    ears = Ears("yes")
    async with Harness(Transcribe(ears)) as harness:
        await harness.send(*framed(tone(ms=100)), SpeechStarted(item_id="a"), *framed(tone(ms=60)))
        await harness.send(*framed(tone(ms=100), response_id="r"), SpeechStopped(item_id="a"), *framed(tone(ms=100)))
        await harness.end()
    assert ears.heard_ms == [60]


async def test_the_next_utterance_may_begin_while_the_last_is_finished() -> None:
    """Each keeps its own words, however late they are."""
    async with Harness(Transcribe(Ears("one two three", "four", seconds=0.5))) as harness:
        await harness.send(*spoken("a"))
        await anyio.sleep(0.2)
        await harness.send(*spoken("b"))
        await harness.end()
    finals = {item: text for item, text, final in words(harness) if final}
    assert finals == {"a": "one two three", "b": "four"}


async def test_the_apology_comes_after_the_final_transcript() -> None:
    """Who follows the turns knows by then that nothing was understood."""
    async with Harness(Transcribe(Ears(RuntimeError("no model")), no_speech_reply="Pardon?")) as harness:
        await harness.send(*spoken("a"))
        await harness.end()
    order = [type(frame) for frame in harness.frames if isinstance(frame, Failure | Transcript | Say)]
    assert order == [Failure, Transcript, Say]


async def test_an_utterance_always_ends() -> None:
    """With the words that were known: when nothing was said, when it fails, when it takes too long."""

    class Stuck(SpeechToText):
        async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
            yield "so far"
            await anyio.sleep_forever()

    async with Harness(Transcribe(Ears("", RuntimeError("no model")))) as harness:
        await harness.send(*spoken("a"), *spoken("b"))
        await harness.end()
    assert sorted(each for each in words(harness) if each[2]) == [("a", "", True), ("b", "", True)]
    assert [frame.message for frame in harness.of(Failure)] == ["Ears: no model"]
    async with Harness(Transcribe(Stuck(), finish_seconds=2)) as harness:
        await harness.send(*spoken("a"))
        await harness.end()
        assert harness.timeline.of(Transcript)[-1].at == pytest.approx(2)
    assert words(harness)[-1] == ("a", "so far", True)
    assert "no final words within 2 s" in harness.of(Failure)[0].message


async def test_a_very_long_utterance_is_bounded() -> None:
    """Its beginning is heard."""
    ears = Ears("x")
    async with Harness(Transcribe(ears, max_utterance_seconds=1)) as harness:
        await harness.send(SpeechStarted(item_id="a"), *framed(tone(ms=5000)), SpeechStopped(item_id="a"))
        await harness.end()
    assert ears.heard_ms == [1000]


async def test_sound_of_another_rate_is_refused() -> None:
    """With the processor to insert."""
    with pytest.raises(ValueError, match=r"Ears got 8000 Hz.*insert Resample\(16000, channels=1\)"):
        async with Harness(Transcribe(Ears("x"))) as harness:
            await harness.send(SpeechStarted(item_id="a"), Audio(samples=np.zeros(80, np.int16), rate=8000))
            await harness.end()


async def test_behind_a_vad() -> None:
    """An utterance has its pre-roll and its end."""
    ears = Ears("what time is it")
    said = np.concatenate([np.zeros(16_000, np.int16), utterances()["time"].samples, np.zeros(16_000, np.int16)])
    async with Harness(Vad(speech_only=True), Transcribe(ears)) as harness:
        await harness.send(*framed(said))
        await harness.end()
    (began, ended) = utterances()["time"].speech_ms[0][0], utterances()["time"].speech_ms[-1][1]
    assert ears.heard_ms[0] >= ended - began + 300


async def test_it_conforms() -> None:
    """The conformance suite passes; what the user says does not expire."""
    await check_processor(lambda: Transcribe(Ears("one two")), spoken("a"), rechunk=False, resets=False)


def heard_sound(ms: float, at: float = 0) -> list[Frame]:
    return list(framed(tone(ms=ms), start=round(at * 16)))


async def test_somebody_above_may_say_when_it_is_a_turn() -> None:
    """Sound is heard from a little before its speech; without news of speech, all since the last commit."""
    ears = Ears("one", "two", "three")
    async with Harness(Transcribe(ears)) as harness:
        await harness.send(TurnControl(), *heard_sound(1000), SpeechStarted(item_id="a", pts=900_000_000))
        await harness.send(*heard_sound(500, 1000), SpeechStopped(item_id="a"), *heard_sound(60, 1500), Commit())
        await harness.send(*heard_sound(700, 1560), Commit())
        await harness.send(*heard_sound(300, 2260), SpeechStarted(item_id="b", pts=2_560_000_000))
        await harness.send(*heard_sound(100, 2560), Commit(), Commit())
        await harness.end()
    assert ears.heard_ms == [900, 700, 400]
    kinds = [type(frame).__name__ for frame in harness.frames if not isinstance(frame, Transcript)]
    spoken = ["SpeechStarted", "SpeechStopped", "Commit"]
    assert kinds == ["TurnControl", *spoken * 4]
    finals = {item: text for item, text, final in words(harness) if final}
    assert finals == {"a": "one", "commit-1": "two", "b": "three", "commit-2": ""}


async def test_what_is_cleared_was_not_said() -> None:
    """Neither what is kept nor what is being heard; the utterance still ends."""
    ears = Ears("never never never", "this", seconds=0.1)
    async with Harness(Transcribe(ears)) as harness:
        await harness.send(SpeechStarted(item_id="a"), *heard_sound(500), SpeechStopped(item_id="a"))
        await harness.send(SpeechStarted(item_id="b"), *heard_sound(500))
        await harness.settle()
        await harness.send(ClearAudio(), *heard_sound(500))
        await harness.send(TurnControl(), *heard_sound(500), ClearAudio(), *heard_sound(100), Commit())
        await harness.end()
    finals = {item: text for item, text, final in words(harness) if final}
    assert finals == {"a": "never never never", "b": "", "commit-1": "this"}
    assert ears.heard_ms[-1] == 100


async def test_a_part_that_is_stuck_in_the_middle_of_speech() -> None:
    """Has so long from the end of the sound, however long it has been silent."""

    class Stuck(SpeechToText):
        async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
            yield "so far"
            await anyio.sleep_forever()

    async with Harness(Transcribe(Stuck(), finish_seconds=2)) as harness:
        await harness.send(SpeechStarted(item_id="a"), *heard_sound(100))
        await anyio.sleep(5)
        await harness.send(SpeechStopped(item_id="a"))
        await harness.end()
        assert harness.timeline.of(Transcript)[-1].at == pytest.approx(7)
    assert words(harness)[-1] == ("a", "so far", True)
