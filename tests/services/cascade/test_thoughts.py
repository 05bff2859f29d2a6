"""What a reasoning model thinks is neither spoken nor remembered."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Text
from bargein.pipeline.testing import Harness
from bargein.processors import Turn
from bargein.services.cascade import Answer
from bargein.services.cascade._answer.thoughts import ThoughtFilter, strip_thoughts

from .parts import Mind

ANSWERS = [
    ("<think>\nNo discount.\n</think>\n\nGood morning!", "Good morning!"),
    ("<thinking>a</thinking>One. <think>b</think>Two.", "One. Two."),
    ("<THINK>a</THINK>Hi.", "Hi."),
    ("<think></think>Hi.", "Hi."),
    ("</think>Hi.", "Hi."),
    ("<think>never ends", ""),
    ("2 < 3, and <b>this</b> stays.", "2 < 3, and <b>this</b> stays."),
    ("It ends with <thi", "It ends with <thi"),
    ("It ends with <", "It ends with <"),
    ("I think so.", "I think so."),
]


@pytest.mark.parametrize(("text", "said"), ANSWERS)
def test_thoughts_are_removed(text: str, said: str) -> None:
    assert strip_thoughts(text) == said


@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 60), max_size=12))
def test_wherever_the_pieces_end(answer: tuple[str, str], cuts: list[int]) -> None:
    text, said = answer
    bounds = [0, *sorted(cuts), len(text)]
    thoughts = ThoughtFilter()
    pieces = [thoughts.feed(text[start:end]) for start, end in pairwise(bounds) if start < end]
    assert "".join(pieces) + thoughts.finish() == said


@pytest.mark.virtual
async def test_they_are_not_part_of_an_answer() -> None:
    mind = Mind(
        ["<thi", "nk>\nThe user greets me. ", "No discount.\n", "</think>", "\n\nGood morning!", " How are you?"]
    )
    async with Harness(answer := Answer(mind)) as harness:
        await harness.send(Turn(text="Hello.", turn=1))
        await harness.end()
        assert "".join(frame.text for frame in harness.of(Text)) == "Good morning! How are you?"
    assert [entry.text for entry in answer.history] == ["Hello.", "Good morning! How are you?"]


@pytest.mark.virtual
async def test_an_answer_that_is_only_thoughts_is_no_answer() -> None:
    async with Harness(Answer(Mind(["<think>What now?</think>"]), error_reply="Sorry.")) as harness:
        await harness.send(Turn(text="Hello.", turn=1))
        await harness.end()
        assert "".join(frame.text for frame in harness.of(Text)) == "Sorry."
