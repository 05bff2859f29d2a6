"""The measure of words."""

from __future__ import annotations

import pytest

from tests.speech import errors, words


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ("My address is twelve, Green Street.", "My address is 12 Green street", 0),
        ("The number is four, nine, two, seven.", "The number is 4927.", 0),
        ("At eight o'clock.", "At 8 o’clock", 0),
        ("At eight.", "At 8:00.", 0),
        ("One hundred and five", "one hundred and 5", 0),
        ("two hundred forty", "240", 0),
        ("zero seven", "07", 0),
        ("I can not open it any more. Okay.", "I cannot open it anymore, ok", 0),
        ("twelve", "twenty", 1),
        ("one two three", "one three four", 2),
        ("", "", 0),
    ],
)
def test_numbers_and_spellings_are_fair(said: str, heard: str, wrong: int) -> None:
    assert errors(words(said), words(heard)) == wrong
