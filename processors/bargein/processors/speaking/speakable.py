"""Say what is written as people say it: numbers, dates, times, money, units, addresses and abbreviations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ._english import RULES, Rule

__all__ = ["speakable", "spoken_pieces"]

LOCALES: Final[Mapping[str, tuple[Rule, ...]]] = {"en": RULES}
"""The rules of each language."""


def speakable(text: str, locale: str = "en") -> str:
    """Return a text as people say it: `"It is 7:05 pm."` returns `"It is seven oh five P M."`.

    Args:
        text: The text.
        locale: BCP 47 tag of its language. So far English has rules; a text in another language is returned as it is.
    """
    return "".join(spoken for _, spoken in spoken_pieces(text, locale))


def spoken_pieces(text: str, locale: str = "en") -> Iterator[tuple[str, str]]:
    """Yield each piece of a text as it is written and as it is said. The written pieces joined are the text.

    Args:
        text: The text.
        locale: BCP 47 tag of its language.
    """
    rules = LOCALES.get(locale.partition("-")[0].lower(), ())
    at = 0
    while at < len(text):
        # Of the matches that begin first, the one of the earliest rule.
        found: tuple[int, int, str] | None = None
        for pattern, function in rules:
            for match in pattern.finditer(text, at):
                if found is not None and match.start() >= found[0]:
                    break
                if (said := function(match)) is not None:
                    found = (match.start(), match.end(), said)
                    break
        if found is None:
            break
        start, end, said = found
        if start > at:
            yield text[at:start], text[at:start]
        # A full stop that also ends the sentence is still needed for that.
        written = text[start:end]
        ends = written.endswith(".") and not text[end:].strip()
        yield written, said + "." * ends
        at = end
    if at < len(text):
        yield text[at:], text[at:]
