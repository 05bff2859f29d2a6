"""A language model made of rules with slots: good enough for a demonstration, and what tests use."""

from __future__ import annotations

import re
import string
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Final

import anyio
import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.cascade.parts import LanguageModel, Prompt, ToolRequest
from bargein.services.history import Entry

from ._match import Match, find_pattern, split_words
from .small_talk import HELP, SMALL_TALK, Rule

__all__ = ["Rules"]

FOLLOW_UPS: Final = ("and in {again}", "what about {again}", "how about {again}", "and {again}", "and for {again}")
SURE_SCORE: Final = 0.85
"""A rule with this score fits by itself; with less, the conversation before is looked at first."""
MAX_LOOK_BACK: Final = 40
"""Entries that a follow-up looks back at."""


class _TitleFormatter(string.Formatter):
    """`str.format` with the conversion `!t`, which capitalises a name in lower case."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion == "t":
            return value.title() if str(value).islower() else value
        return super().convert_field(value, conversion)


_formatter = _TitleFormatter()


class _Meaning(msgspec.Struct, frozen=True):
    """What the user means: a rule with its slots filled."""

    rule: Rule
    slots: dict[str, str]


class Rules(LanguageModel):
    """A rule-based language model. It needs no key and no network, and is deterministic.

    The rule that fits best answers; of several that fit alike, the first. A rule can call a tool of the agent; the
    tool's result is then put into the rule's sentence. "And in Rome?" asks the last question again with another slot.

    Args:
        rules: The rules, the more specific ones first.
        fallback: The answer if no rule fits.
        greeting: The answer to a prompt in which nobody has said anything; empty for none.
        nudge: The answer where the agent has spoken last and is asked to speak again; empty for none.
        pause_seconds: The time between two words of an answer, in seconds.

    Raises:
        ValueError: `pause_seconds` is negative.
    """

    @check_options
    def __init__(
        self,
        rules: Iterable[Rule] = SMALL_TALK,
        *,
        fallback: str = f"Sorry, I have no rule for that. {HELP}",
        greeting: str = "Hello. What can I do for you?",
        nudge: str = "Is there anything else that I can do for you?",
        pause_seconds: float = 0.0,
    ) -> None:
        if not pause_seconds >= 0:
            raise ValueError(f"Rules(pause_seconds={pause_seconds}): expected 0 or more seconds")
        self.rules = tuple(rules)
        """The rules."""
        self.fallback = fallback
        """The answer if no rule fits."""
        self.greeting = greeting
        """The answer to a prompt in which nobody has said anything."""
        self.nudge = nudge
        """The answer where the agent has spoken last and is asked to speak again."""
        self.pause_seconds = pause_seconds
        """The time between two words of an answer, in seconds."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[str | ToolRequest, None]:
        """Yield the answer to a prompt: text word by word, and tool calls."""
        for piece in self.pieces(prompt):
            if isinstance(piece, ToolRequest):
                yield piece
                continue
            for number, word in enumerate(re.findall(r"\s*\S+\s*", piece)):
                await (
                    anyio.sleep(self.pause_seconds) if number and self.pause_seconds else anyio.lowlevel.checkpoint()
                )
                yield word

    def pieces(self, prompt: Prompt) -> list[str | ToolRequest]:
        """Return the whole answer to a prompt at once. No I/O.

        Args:
            prompt: The conversation and the tools.
        """
        entries = [entry for entry in prompt.entries if entry.role != "system"]
        if not entries:
            return [self.greeting] if self.greeting else []
        last = entries[-1]
        if last.role == "call":
            start = max((n for n, entry in enumerate(entries) if entry.role != "call"), default=-1) + 1
            sentences = [
                self._result_sentence(entry, entries[:start]) for entry in entries[start:] if entry.output is not None
            ]
            return [" ".join(sentences)] if sentences else []
        if last.role != "user":
            return [self.nudge] if self.nudge else []
        meaning = self._understand(entries)
        return [self.fallback] if meaning is None else self._respond(meaning, entries, prompt.tools)

    # What the user means ------------------------------------------------------------------------------------------

    def _understand(self, entries: Sequence[Entry]) -> _Meaning | None:
        """Return what the last entry, the user's, means after the entries before it."""
        words = split_words(entries[-1].remembered)
        best: tuple[tuple[float, float], _Meaning] | None = None
        for rule in self.rules:
            for match in filter(None, (find_pattern(pattern, words) for pattern in rule.patterns)):
                rank = _rank(match)
                if (best is None or rank > best[0]) and rule.fits(match.slots):
                    best = rank, _Meaning(rule, match.slots)
        if best is not None and best[0][0] >= SURE_SCORE:
            return best[1]
        return self._continue(entries) or (best[1] if best else None)

    def _continue(self, entries: Sequence[Entry]) -> _Meaning | None:
        """Return the meaning of the last words as a reply to a rule's question, or as a follow-up ("and in Rome?")."""
        end = next((n for n in range(len(entries) - 1, 0, -1) if entries[n - 1].role == "user"), 0)
        earlier = self._understand(entries[max(0, end - MAX_LOOK_BACK) : end]) if end else None
        if earlier is None:
            return None
        text = entries[-1].remembered
        if earlier.rule.asks:
            meaning = self._understand([Entry(role="user", text=f"{earlier.rule.asks} {text}")])
            return meaning if meaning is not None and meaning.rule.call else None
        words = split_words(text)
        for match in filter(None, (find_pattern(pattern, words) for pattern in FOLLOW_UPS)):
            slot = earlier.rule.follow_up or next(iter(earlier.slots), "")
            slots = {**earlier.slots, slot: match.slots["again"]}
            if earlier.rule.call and slot and earlier.rule.fits(slots):
                return _Meaning(earlier.rule, slots)
        return None

    def _recall(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return what users have said in slots, the latest of each."""
        recalled: dict[str, str] = {}
        for entry in entries[-MAX_LOOK_BACK:]:
            if entry.role == "user" and (meaning := self._understand([entry])) is not None:
                recalled |= meaning.slots
        return recalled

    # What is answered ---------------------------------------------------------------------------------------------

    def _respond(
        self, meaning: _Meaning, entries: Sequence[Entry], tools: Sequence[Mapping[str, Any]]
    ) -> list[str | ToolRequest]:
        rule, pieces = meaning.rule, list[str | ToolRequest]()
        if rule.answer:
            needed = {name for _, name, _, _ in _formatter.parse(rule.answer) if name}
            recalled = {} if needed <= meaning.slots.keys() else self._recall(entries[:-1])
            try:
                pieces.append(_formatter.format(rule.answer, **{**recalled, **meaning.slots}))
            except KeyError:
                return [rule.unknown or self.fallback]
        if rule.call:
            if all(each.get("name") != rule.call for each in tools):
                return [*pieces, f"For that I need the tool {rule.call.replace('_', ' ')}, which I do not have."]
            pieces.append(ToolRequest(name=rule.call, arguments=msgspec.json.encode(meaning.slots).decode()))
        return pieces

    def _result_sentence(self, entry: Entry, before: Sequence[Entry]) -> str:
        """Return a tool's result as a sentence."""
        users = [n for n, each in enumerate(before, 1) if each.role == "user"]
        meaning = self._understand(before[: users[-1]]) if users else None
        try:
            result = msgspec.json.decode(entry.output or "null")
        except (msgspec.DecodeError, RecursionError):
            result = entry.output  # plain text, or the message of an error
        if meaning is None or meaning.rule.call != entry.name or not meaning.rule.result:
            return _sentence(_describe(result))
        if not isinstance(result, dict) and "{result" not in meaning.rule.result:
            return _sentence(_describe(result))
        fields = result if isinstance(result, dict) else {"result": result}
        try:
            return _sentence(_formatter.format(meaning.rule.result, **{**meaning.slots, **fields}))
        except (LookupError, AttributeError, TypeError, ValueError):
            return _sentence(_describe(result))  # the result is not what the sentence is for: usually an error message


def _rank(match: Match) -> tuple[float, float]:
    return round(match.score, 1), match.weight


def _describe(value: Any) -> str:
    """Return a result in words, for results without a sentence."""
    if isinstance(value, dict):
        if len(value) == 1:
            return _describe(next(iter(value.values())))
        return ", ".join(f"{name.replace('_', ' ')}: {_describe(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_describe(each) for each in value)
    return "done" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _sentence(text: str) -> str:
    """Return the text with a capital at its beginning and a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""
