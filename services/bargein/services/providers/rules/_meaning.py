"""What a user means: the rule that fits best, after what was said before. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from bargein.services.history import Entry

from ._match import find_matches, split_words
from .small_talk import Rule

__all__ = ["Meaning", "RuleBook"]

FOLLOW_UPS: Final = ("and in {again}", "in {again}", "what about {again}", "how about {again}", "and {again}")
SURE_SCORE: Final = 0.85
"""A rule with this score fits by itself; with less, the conversation before is looked at first."""
Meaning = tuple[Rule, dict[str, str]]
"""What the user means: a rule, and what is in its slots."""


class RuleBook:
    """Rules that are looked up by what was said.

    Args:
        rules: The rules, the more specific ones first.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._phrases = [(rule, phrase) for rule in rules for phrase in rule.phrases.split("|")]

    def understand(self, entries: Sequence[Entry]) -> Meaning | None:
        """Return what the last entry, the user's, means after the entries before it; None if no rule fits.

        Args:
            entries: The conversation, which ends with the user's words.
        """
        text = entries[-1].remembered
        score, meaning = self.find(text)
        if meaning is None:
            score, meaning = self.find(re.split(r"[.!?;]\s+", text.strip(" .!?;"))[-1])
        return meaning if score >= SURE_SCORE else self._continue(entries) or meaning

    def find(self, text: str) -> tuple[float, Meaning | None]:
        """Return the score of the rule that fits a text best, and the rule with its slots.

        Args:
            text: What was said.
        """
        best, meaning, words = (0.0, 0.0), None, split_words(text)
        for rule, phrase in self._phrases:
            for score, weight, slots in find_matches(phrase, words):
                if (score, weight) > best and rule.fits(slots):
                    best, meaning = (score, weight), (rule, slots)
        return best[0], meaning

    def _continue(self, entries: Sequence[Entry]) -> Meaning | None:
        """Return the meaning of the last words as a reply to a rule's question, or as a follow-up ("and in Rome?")."""
        end = next((n for n in range(len(entries) - 1, 0, -1) if entries[n - 1].role == "user"), 0)
        earlier = self.understand(entries[:end]) if end else None
        if earlier is None:
            return None
        rule, text = earlier[0], entries[-1].remembered
        if rule.asks:
            _, meaning = self.find(f"{rule.asks} {text}")
            return meaning if meaning and meaning[0].call else None
        if rule.call and (slot := re.search(r"\{(\w+)", rule.phrases)):
            for again in (slots for each in FOLLOW_UPS for *_, slots in find_matches(each, split_words(text))):
                if rule.fits(slots := {**earlier[1], slot[1]: again["again"]}):
                    return rule, slots
        return None
