"""Tokens of a Whisper model, as text."""

from __future__ import annotations

import pytest

from bargein.services.providers.whisper._text import read_tokens, to_tokens, without_repetition


def tokens(text: str) -> list[str]:
    """Each word a token, as in the vocabulary."""
    return ["Ġ" + each for each in text.split()]


def test_special_tokens_are_not_said() -> None:
    said = ["<|startoftranscript|>", "<|0.00|>", *tokens("Hello there."), "<|1.00|>", "<|endoftext|>"]
    assert read_tokens(said, 1.0) == "Hello there."


def test_bytes_make_characters() -> None:
    """A character outside ASCII is two tokens or more."""
    assert read_tokens(["ĠZ", "Ã", "¼", "rich"], 1.0) == "Zürich"


def test_what_is_invented_in_the_silence_after_the_sound_is_left_out() -> None:
    """A second segment after the end, and one that repeats the first."""
    first = ["<|0.00|>", *tokens("Set a timer."), "<|1.50|>"]
    assert read_tokens([*first, "<|4.00|>", *tokens("Thank you."), "<|5.00|>"], 2.0) == "Set a timer."
    assert read_tokens([*first, "<|1.50|>", *tokens("Set a timer."), "<|1.70|>"], 2.0) == "Set a timer."
    assert read_tokens([*first, "<|1.50|>", *tokens("Now."), "<|1.80|>"], 2.0) == "Set a timer. Now."


def test_a_segment_without_an_end_counts() -> None:
    """The model may stop at its maximum length."""
    assert read_tokens(["<|0.00|>", *tokens("One two")], 1.0) == "One two"
    assert read_tokens(tokens("One two"), 1.0) == "One two"


@pytest.mark.parametrize("text", ["[BLANK_AUDIO]", "(music)", "...", "♪♪", ""])
def test_notes_are_not_words(text: str) -> None:
    assert read_tokens(tokens(text), 1.0) == ""


@pytest.mark.parametrize(
    ("text", "once"),
    [
        ("What time is it? What time is it?", "What time is it?"),
        ("one two three one two three one two", "one two three"),
        ("no no no", "no no no"),
        ("one two three four", "one two three four"),
        ("", ""),
    ],
)
def test_a_text_that_repeats_itself_is_said_once(text: str, once: str) -> None:
    assert without_repetition(text) == once


def test_a_text_becomes_the_longest_tokens() -> None:
    """Bytes that no token has stand alone."""
    assert to_tokens(" Bargein", {"ĠBar", "ĠB", "ge", "in", "gein"}) == ["ĠBar", "gein"]
    assert to_tokens(" Zü", {"ĠZ"}) == ["ĠZ", "Ã", "¼"]
    assert to_tokens("", set()) == []
