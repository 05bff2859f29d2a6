"""Speak: each piece of text, then its sound, and when its words sound."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import numpy as np
import numpy.typing as npt
import pytest

from bargein.pipeline import Audio, Failure, ResponseEnded, ResponseStarted, Text
from bargein.pipeline.testing import Harness, check_processor, joined, tone
from bargein.processors import Heard, Pacer, Spoken, Timing
from bargein.services.cascade import Speak, TextToSpeech, Word

from .parts import LETTER_MS, Voice

pytestmark = pytest.mark.virtual


def piece(text: str, *, item: str = "i", final: bool = False, epoch: int = 0) -> Text:
    return Text(text=text, response_id="r", item_id=item, final=final, epoch=epoch)


async def test_each_piece_has_its_sound() -> None:
    """In order, with times that go on from piece to piece, and start again with an item."""
    async with Harness(Speak(Voice(words=True))) as harness:
        await harness.send(piece("One two. "), piece("Three.", final=True), piece("Four.", item="j"))
        await harness.send(ResponseEnded(response_id="r"))
        await harness.end()
    kinds = [type(frame).__name__ for frame in harness.frames if not isinstance(frame, Timing)]
    assert kinds == ["Text", *["Audio"] * 3] * 3 + ["ResponseEnded"]
    times = {frame.text: (frame.start_ms, frame.end_ms) for frame in harness.of(Timing)}
    assert times == {"One": (0, 150), "two.": (200, 400), "Three.": (450, 750), "Four.": (0, 250)}
    sound = [frame for frame in harness.of(Audio) if frame.item_id == "i"]
    assert [frame.pts for frame in sound] == sorted(frame.pts for frame in sound)
    assert len(joined(sound)) == round(15 * LETTER_MS * 16)


async def test_where_the_voice_does_not_say_the_piece_is_timed() -> None:
    """As a whole, when its length is known."""
    async with Harness(Speak(Voice())) as harness:
        await harness.send(piece("One two."), piece(" Three.", final=True), piece("", final=True))
        await harness.end()
    assert [(frame.text, frame.start_ms, frame.end_ms) for frame in harness.of(Timing)] == [
        ("One two.", 0, 400),
        (" Three.", 400, 750),
    ]


async def test_what_it_cannot_say_is_told_and_left_out() -> None:
    """The rest is spoken, and the text passes."""
    voice = Voice(cannot="ß")
    async with Harness(Speak(voice)) as harness:
        await harness.send(piece("Ein Spaß. "), piece("Ja."))
        await harness.end()
    assert voice.said == ["Ja."]
    assert [frame.message for frame in harness.of(Failure)] == ["Voice: I cannot say ß"]
    assert len(harness.of(Text)) == 2


async def test_an_interrupt_cancels_the_voice() -> None:
    """The next reply is spoken at once."""
    async with Harness(Speak(Voice()), Spoken(), Pacer()) as harness:
        await harness.send(piece("A very long sentence that goes on and on."), ResponseEnded(response_id="r"))
        await anyio.sleep(0.5)
        number = harness.interrupt()
        await harness.send(Text(text="Yes?", response_id="s", item_id="k", epoch=number))
        await anyio.sleep(0.05)
        new = [frame for frame in harness.of(Audio) if frame.response_id == "s"]
        assert new
        assert np.any(new[0].samples)
        await harness.session.cancel()


async def test_it_conforms() -> None:
    """The conformance suite passes."""
    frames = [piece("One two. "), piece("Three.", final=True), ResponseEnded(response_id="r")]
    await check_processor(lambda: Speak(Voice(words=True)), frames)


class Breaking(TextToSpeech):
    """Speaks 50 ms a letter, and breaks off after some letters of a sentence that has a word in it."""

    rate = 16_000

    def __init__(self, word: str, letters: int, *, words: bool = False) -> None:
        self.word = word
        self.letters = letters
        self.words = words

    async def speak(self, text: str) -> AsyncIterator[npt.NDArray[np.int16] | Word]:
        count = self.letters if self.word in text else len(text)
        at = 0
        for word in text.split(" ") if self.words else []:
            yield Word(text=word, start_ms=at * 50, end_ms=(at + len(word)) * 50)
            at += len(word) + 1
        if count:
            yield tone(200, 50 * count, rate=self.rate)
        if count < len(text):
            raise ConnectionError("the voice hung up")


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(
    ("word", "letters", "heard"),
    [
        ("PIN", 0, "All is fine. Goodbye."),
        ("PIN", 13, "All is fine. Your PIN is Goodbye."),
        ("fine", 0, "Your PIN is four two. Goodbye."),
        ("fine", 6, "All is Your PIN is four two. Goodbye."),
        ("bye", 0, "All is fine. Your PIN is four two. "),
        ("nothing", 0, "All is fine. Your PIN is four two. Goodbye."),
    ],
)
async def test_what_no_voice_said_is_not_heard(words: bool, word: str, letters: int, heard: str) -> None:
    """The voice fails for one of three sentences, before its first sound or in the middle."""
    if (word, words) == ("fine", False):  # its pace is not known yet, and estimated
        heard = heard.replace("All is", "All")
    async with Harness(Speak(Breaking(word, letters, words=words)), Spoken(), Pacer()) as harness:
        await harness.send(ResponseStarted(response_id="r"))
        await harness.send(piece("All is fine. "), piece("Your PIN is four two. "), piece("Goodbye.", final=True))
        await harness.send(ResponseEnded(response_id="r"))
        await anyio.sleep(10)
        assert [frame.text for frame in harness.of(Heard) if frame.done] == [heard]
        assert len(harness.of(Failure)) == (word != "nothing")


async def test_an_interrupt_behind_a_piece_that_failed() -> None:
    """What was heard is cut short behind it, and the failed piece is not in it."""
    async with Harness(Speak(Breaking("PIN", 0)), Spoken(), Pacer()) as harness:
        await harness.send(ResponseStarted(response_id="r"))
        await harness.send(piece("All is fine. "), piece("Your PIN is four two. "), piece("Goodbye, my friend. " * 3))
        await anyio.sleep(1.5)
        harness.interrupt()
        await anyio.sleep(0.5)
        (last,) = [frame for frame in harness.of(Heard) if frame.done]
        assert last.text.startswith("All is fine. Goodbye, my")
        assert last.remaining.endswith("my friend. ")
