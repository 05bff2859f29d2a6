"""From texts to phonemes, with a small lexicon."""

from __future__ import annotations

from typing import ClassVar

import pytest

from bargein.services.providers.hibari._lexicon import MAIN, SIDE, Entry, Lexicon, add_stress, begins_with_vowel
from bargein.services.providers.hibari._reader import Reader

GOLD: dict[str, Entry] = {
    "apple": "ˈæpᵊl",
    "cat": "kˈæt",
    "wait": "wˈAt",
    "bus": "bˈʌs",
    "orange": "ˈɔɹᵊnʤ",
    "study": "stˈʌdi",
    "to": "tu",
    "am": "æm",
    "twenty": "twˈɛnti",
    "one": "wˈʌn",
    "and": "ænd",
    "barge": "bˈɑɹʤ",
    "make": "mˈAk",
    "record": {"DEFAULT": "ɹˈɛkəɹd", "VERB": "ɹəkˈɔɹd"},
    "NASA": "nˈæsə",
    "stop": "stˈɑp",
    "not": "nˌɑt",
    "I": "ˈI",
    "B": "bˈi",
    "M": "ˈɛm",
    "Paris": "pˈɛɹəs",
}


class Tags:
    """Everything is a noun, but for a few words."""

    KNOWN: ClassVar = {"a": "DT", "I": "PRP", "in": "IN", "IBM": "NNP"}

    def tag(self, words: list[str]) -> list[str]:
        return [self.KNOWN.get(word, "VB" if at and words[at - 1] == "to" else "NN") for at, word in enumerate(words)]


def reader(**pronunciations: str) -> Reader:
    return Reader(Lexicon((GOLD,), lambda word: f"g{word.lower()}"), Tags(), pronunciations)


def phonemes(text: str, **pronunciations: str) -> str:
    return " | ".join(part.phonemes for part in reader(**pronunciations).read(text))


@pytest.mark.parametrize(("text", "expected"), [
    ("cat, apple.", "kˈæt, ˈæpᵊl."),
    ("the cat", "ðə kˈæt"),
    ("the apple", "ði ˈæpᵊl"),
    ("to cat to apple to", "tə kˈæt tʊ ˈæpᵊl tu"),
    ("a cat", "ɐ kˈæt"),
    ("a record to record", "ɐ ɹˈɛkəɹd tə ɹəkˈɔɹd"),
    ("cats buses oranges studies", "kˈæts bˈʌsᵻz ˈɔɹᵊnʤᵻz stˈʌdiz"),
    ("cat's cat’s cats' ", "kˈæts kˈæts kˈæts"),
    ("waited studied stopped", "wˈATᵻd stˈʌdid stˈɑpt"),
    ("waiting making stopping", "wˈATɪŋ mˈAkɪŋ stˈɑpɪŋ"),
    ("twenty-one", "twˌɛntiwˈʌn"),
    ("paris Cat And", "pˈɛɹəs kˈæt ˌænd"),
    ("NASA IBM", "nˈæsə ˌIbˌiˈɛm"),
    ("NOT", "nˈɑt"),
    ("bm", "bˌiˈɛm"),
    ("stoppin'", "stˈɑpɪŋ"),
    ("zork", "gzork"),
    ("b" * 9, "g" + "b" * 9),
    ("1 apple", "wˈʌn ˈæpᵊl"),
    ("cat – apple - cat", "kˈæt— ˈæpᵊl— kˈæt"),
    ("(cat) apple", "kˈæt) ˈæpᵊl"),
    ("", ""),
    (" ... 🎉 日本!", "g日本!"),
    ("cat.apple", "kˈæt ˈæpᵊl"),
])  # fmt: skip
def test_texts(text: str, expected: str) -> None:
    assert phonemes(text) == expected


def test_pronunciations_of_ones_own() -> None:
    assert phonemes("Zork, ZORK's", zork="/zˈɔɹk/") == "zˈɔɹk, zˈɔɹkz"
    assert phonemes("bargein bargein's", Bargein="barge one") == "bˈɑɹʤ wˈʌn bˈɑɹʤ wˈʌnz"


def test_parts() -> None:
    """A sentence is a part; a long one begins with a clause, and no part is too long."""
    assert phonemes("cat. apple! cat") == "kˈæt. | ˈæpᵊl! | kˈæt"
    long = "apple " * 8
    assert [len(part.words) for part in reader().read(f"{long}, cat, {long}, cat")] == [8, 10]
    assert all(len(part.phonemes) <= 250 for part in reader().read("apple " * 500))


def test_words_are_those_of_the_text() -> None:
    """Each with the place of its phonemes."""
    (part,) = reader().read("The twenty-one cats’ apples...")
    assert [(each.text, part.phonemes[each.start : each.end]) for each in part.words] == [
        ("The", "ðə"), ("twenty", "twˌɛnti"), ("one", "wˈʌn"), ("cats’", "kˈæts"), ("apples", "ˈæpᵊlz"),
    ]  # fmt: skip


def test_stress() -> None:
    assert add_stress("ænd", SIDE) == "ˌænd"
    assert add_stress("nˌɑt", MAIN) == "nˈɑt"
    assert add_stress("kˈæt", MAIN) == "kˈæt"
    assert add_stress("s", MAIN) == "s"
    assert [begins_with_vowel(each) for each in ("ˈæ", "kˈæ", "—", "")] == [True, False, None, None]
