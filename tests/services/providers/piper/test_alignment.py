"""Which word sounds when: found by what each sounds like alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from bargein.services.providers.piper._alignment import Phrase, align_words


class Length(NamedTuple):
    num_samples: int


def placed_in(text: str, alone: Mapping[str, str], *sentences: str) -> list[Phrase]:
    """The words of a text, each with what it sounds like alone, in sentences of one-letter phonemes."""
    words = [(*match.span(), list(alone.get(match.group(), ""))) for match in re.finditer(r"\S+", text)]
    return align_words(text, words, [list(each) for each in sentences])


def pieces(phrases: list[Phrase]) -> list[list[tuple[str, str]]]:
    """Each piece with the phonemes from its first to the next one's."""
    found = []
    for each in phrases:
        bounds = [*each.begins, len(each.phonemes)]
        sounds = ["".join(each.phonemes[a:b]) for a, b in pairwise(bounds)]
        found.append(list(zip(each.pieces, sounds, strict=True)))
    return found


ALONE = {"In": "ɪn", "the": "ðə", "middle": "mˈɪdəl", "of": "ˈʌv", "a": "ˈeɪ", "house.": "hˈaʊs.", "25": "twɛnti faɪv"}


def test_words_that_run_together() -> None:
    """They are told apart by their consonants; one that has become another sound is said with the one before."""
    (found,) = pieces(placed_in("In the middle of a house.", ALONE, "ɪnðə mˈɪdəl əvə hˈaʊs."))
    assert found == [("In", "ɪn"), ("the", "ðə "), ("middle", "mˈɪdəl "), ("of a", "əvə "), ("house.", "hˈaʊs.")]


def test_a_word_may_be_several() -> None:
    """A number, with all of its sounds."""
    (found,) = pieces(placed_in("In 25 house.", ALONE, "ɪn twɛnti faɪv hˈaʊs."))
    assert found == [("In", "ɪn "), ("25", "twɛnti faɪv "), ("house.", "hˈaʊs.")]


def test_sentences_have_their_own_words() -> None:
    """In the order of the text, with a stress at the beginning; what is no sound goes with the word before."""
    found = pieces(placed_in("In – house. of", ALONE, "ɪn hˈaʊs.", "ˈʌv"))
    assert found == [[("In –", "ɪn "), ("house.", "hˈaʊs.")], [("of", "ˈʌv")]]


def test_what_makes_no_sound() -> None:
    """Nothing is align_words in nothing, and what is not found at all is one piece."""
    assert pieces(placed_in("", {}, "")) == [[]]
    assert pieces(placed_in("x y", {"x": "", "y": ""}, "abc")) == [[("x y", "abc")]]


def test_a_very_long_text() -> None:
    """Its words are not looked for: that would take longer than to speak it."""
    (phrase,) = placed_in("the " * 3000, ALONE, "ðə " * 3000)
    assert (phrase.begins, phrase.pieces) == ([], [])


def test_lengths_become_times() -> None:
    """Those of a voice have a mark more at each end; of lengths that are not those of the phonemes nothing is said."""
    (phrase,) = placed_in("In house.", ALONE, "ɪn hˈaʊs.")
    lengths = [Length(100)] * 11
    words = [(word.text, word.start_ms, word.end_ms) for word in phrase.words(lengths, 1000, 1100, 1000)]
    assert words == [("In", 1100, 1400), ("house.", 1400, 2100)]
    assert not list(phrase.words(lengths[1:], 1000, 1100, 1000))
    assert not list(phrase.words(None, 1000, 1100, 1000))


@given(st.lists(st.text("ab", max_size=3), max_size=6), st.lists(st.text("ab ˈ.", max_size=9), max_size=3))
def test_every_word_is_placed_once_and_in_order(sounds: list[str], sentences: list[str]) -> None:
    """Whatever the voice makes of them, if it makes any sound."""
    text = " ".join(f"w{at}" for at in range(len(sounds)))
    phrases = placed_in(text, {f"w{at}": each for at, each in enumerate(sounds)}, *sentences)
    heard = any(char in "ab" for each in sentences for char in each)
    assert " ".join(piece for phrase in phrases for piece in phrase.pieces) == (text if heard else "")
    assert all(phrase.begins == sorted(set(phrase.begins)) for phrase in phrases)
    assert [phrase.phonemes for phrase in phrases] == [list(each) for each in sentences]
