"""Words of a voice, as they are written."""

from __future__ import annotations

import pytest

from bargein.pipeline import Text
from bargein.pipeline.testing import Harness
from bargein.processors import Timing
from bargein.processors.speaking.speakable import spoken_pieces
from bargein.services.cascade import Speak
from bargein.services.cascade._written import WrittenWords
from bargein.services.cascade.parts import Word

from .parts import Voice


def written(text: str, *words: str) -> list[tuple[str, float, float]]:
    """What becomes of words that the voice reports one a millisecond."""
    mapping = WrittenWords(list(spoken_pieces(text, "en")))
    made = [
        each
        for at, word in enumerate(words or mapping.said.split())
        for each in mapping.add(Word(text=word, start_ms=at, end_ms=at + 1))
    ]
    return [(each.text, each.start_ms, each.end_ms) for each in (*made, *mapping.end())]


@pytest.mark.parametrize(("text", "words", "expected"), [
    ("It is fine", (), [("It", 0, 1), ("is", 1, 2), ("fine", 2, 3)]),
    ("It is $9 now", (), [("It", 0, 1), ("is", 1, 2), ("$9", 2, 4), ("now", 4, 5)]),
    ("at 7:05 pm", (), [("at", 0, 1), ("7:05 pm", 1, 6)]),
    ("5 km 3 km", (), [("5 km", 0, 2), ("3 km", 2, 4)]),
    ("in 1984 and", ("in nineteen", "eighty-four and"), [("in 1984 and", 0, 2)]),
    ("so 7", ("so", "else"), [("so", 0, 1), ("else", 1, 2)]),
])  # fmt: skip
def test_words(text: str, words: tuple[str, ...], expected: list[tuple[str, float, float]]) -> None:
    assert written(text, *words) == expected


@pytest.mark.virtual
async def test_the_voice_gets_words_and_the_rest_what_is_written() -> None:
    voice = Voice(words=True)
    async with Harness(Speak(voice, locale="en")) as harness:
        await harness.play([Text("It costs $5 now.", response_id="r", item_id="i", final=True)])
        await harness.settle()
        assert [frame.text for frame in harness.of(Text)] == ["It costs $5 now."]
        assert [frame.text for frame in harness.of(Timing)] == ["It", "costs", "$5", "now."]
    assert voice.said == ["It costs five dollars now."]
