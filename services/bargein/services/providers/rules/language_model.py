"""A language model that is no model: rules with slots. Good enough to talk to, and the one that tests use."""

from __future__ import annotations

import re
import string
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Final

import anyio
import msgspec

from bargein.services.cascade.parts import LanguageModel, Prompt, ToolRequest
from bargein.services.history import Entry

from ._match import Found, match, tokens
from ._numbers import number_of
from ._small_talk import HELP, SMALL_TALK, Rule
from .tools import TOOLS, calculate, current_time, set_timer, weather

__all__ = ["SMALL_TALK", "TOOLS", "Rule", "Rules", "calculate", "current_time", "set_timer", "weather"]

FOLLOW_UPS: Final = ("and in {again}", "what about {again}", "how about {again}", "and {again}", "and for {again}")
SURE: Final = 0.85
"""A rule that fits so well needs nothing of what was said before."""
LOOK_BACK: Final = 40
"""How many entries a follow-up looks back at."""


class _Format(string.Formatter):
    """`str.format` with `!t`, which gives a name its capitals."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion == "t":
            return value.title() if str(value).islower() else value
        return super().convert_field(value, conversion)


class _Meant(msgspec.Struct, frozen=True):
    """What the user meant: a rule, and what stands in its slots."""

    rule: Rule
    slots: dict[str, str]
    arguments: dict[str, Any]


class Rules(LanguageModel):
    """A rule-based language model: it understands what its rules say, tells so, and never makes anything up.

    It needs no key, no network and no time, and the same conversation always gets the same answer. The best rule
    answers; of rules alike, the first. Words may be misheard, missing or too many. A rule may call a tool that the
    agent has (`TOOLS` has those that `SMALL_TALK` calls); its result is then told in the rule's sentence. "And in
    Rome?" asks the last question again. What no rule fits is answered with `fallback`, and a prompt in which nobody has
    said anything with `greeting`. Words are given one by one, with `pause` seconds between them.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = SMALL_TALK,
        *,
        fallback: str = f"Sorry, I have no rule for that. {HELP}",
        greeting: str = "Hello. What can I do for you?",
        pause: float = 0.0,
    ) -> None:
        if not pause >= 0:
            raise ValueError(f"Rules(pause={pause}): expected 0 or more seconds")
        self.rules = tuple(rules)
        """The rules, the more particular ones first."""
        self.fallback = fallback
        """What is said where no rule fits."""
        self.greeting = greeting
        """What is said first, when it is asked to begin."""
        self.pause = pause
        """Seconds between two words."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[str | ToolRequest, None]:
        """Answer the last thing that was said, or tell what the tools have answered."""
        for piece in self.pieces(prompt):
            if isinstance(piece, ToolRequest):
                yield piece
                continue
            for number, word in enumerate(re.findall(r"\s*\S+\s*", piece)):
                await (anyio.sleep(self.pause) if number and self.pause else anyio.lowlevel.checkpoint())
                yield word

    def pieces(self, prompt: Prompt) -> list[str | ToolRequest]:
        """The whole answer at once. No I/O."""
        entries = [entry for entry in prompt.entries if entry.role != "system"]
        if not entries:
            return [self.greeting] if self.greeting else []
        last = entries[-1]
        if last.role == "call":
            start = max((n for n, entry in enumerate(entries) if entry.role != "call"), default=-1)
            before = entries[: start + 1]
            told = [self._told(entry, before) for entry in entries[start + 1 :] if entry.output is not None]
            return [" ".join(told)] if told else []
        if last.role != "user":
            return []
        meant = self._meant(entries)
        return [self.fallback] if meant is None else self._said(meant, entries, prompt.tools)

    # What was meant -----------------------------------------------------------------------------------------------

    def _meant(self, entries: Sequence[Entry]) -> _Meant | None:
        """What the last user's words mean, after those before them."""
        said = tokens(entries[-1].remembered)
        best: tuple[tuple[float, float], _Meant] | None = None
        for rule in self.rules:
            for found in filter(None, (match(pattern, said) for pattern in rule.patterns)):
                if (best is None or _rank(found) > best[0]) and (meant := _with(rule, found.slots)) is not None:
                    best = _rank(found), meant
        if best is not None and best[0][0] >= SURE:
            return best[1]
        return self._continued(entries) or (best[1] if best else None)

    def _continued(self, entries: Sequence[Entry]) -> _Meant | None:
        """The last words as the rest of those before: an answer to a question, or "and in Rome?"."""
        end = next((n for n in range(len(entries) - 1, 0, -1) if entries[n - 1].role == "user"), 0)
        earlier = self._meant(entries[max(0, end - LOOK_BACK) : end]) if end else None
        if earlier is None:
            return None
        text = entries[-1].remembered
        if earlier.rule.asks:
            whole = Entry(role="user", text=f"{earlier.rule.asks} {text}")
            meant = self._meant([whole])
            return meant if meant is not None and meant.rule.call else None
        said = tokens(text)
        for found in filter(None, (match(pattern, said) for pattern in FOLLOW_UPS)):
            if earlier.rule.call and (again := _again(earlier, found.slots["again"])) is not None:
                return again
        return None

    def _known(self, entries: Sequence[Entry], names: set[str]) -> dict[str, str]:
        """What users have filled into these slots, the latest last."""
        rules = [rule for rule in self.rules if any(f"{{{name}" in each for each in rule.patterns for name in names)]
        known: dict[str, str] = {}
        for entry in entries:
            if entry.role == "user":
                said = tokens(entry.remembered)
                for found in filter(None, (match(pattern, said) for rule in rules for pattern in rule.patterns)):
                    known |= {name: value for name, value in found.slots.items() if name in names}
        return known

    # What is said -------------------------------------------------------------------------------------------------

    def _said(
        self, meant: _Meant, entries: Sequence[Entry], offered: Sequence[Mapping[str, Any]]
    ) -> list[str | ToolRequest]:
        rule, pieces = meant.rule, list[str | ToolRequest]()
        if rule.answer:
            try:
                text = _Format().format(rule.answer, **meant.slots)
            except KeyError:
                names = {name for _, name, _, _ in _Format().parse(rule.answer) if name}
                try:
                    text = _Format().format(rule.answer, **self._known(entries, names))
                except KeyError:
                    return [rule.unknown or self.fallback]
            pieces.append(text)
        if rule.call:
            tool = next((each for each in offered if each.get("name") == rule.call), None)
            if tool is None:
                return [*pieces, f"For that I need the tool {rule.call.replace('_', ' ')}, which nobody has given me."]
            pieces.append(
                ToolRequest(name=rule.call, arguments=msgspec.json.encode(_fit(meant.arguments, tool)).decode())
            )
        return pieces

    def _told(self, entry: Entry, before: Sequence[Entry]) -> str:
        """A tool's result as a sentence."""
        users = [n for n, each in enumerate(before, 1) if each.role == "user"]
        meant = self._meant(before[: users[-1]]) if users else None
        try:
            result = msgspec.json.decode(entry.output or "null")
        except (msgspec.DecodeError, RecursionError):
            result = entry.output  # a string, or a fault, stands as it is
        fields = result if isinstance(result, dict) else {"result": result}
        rule = meant.rule if meant is not None and meant.rule.call == entry.name else None
        if rule is None or not rule.said:
            return _sentence(_plain(result))
        try:
            said, slots = rule.said, meant.slots if meant is not None else {}
            text = said(fields) if callable(said) else _Format().format(said, **{**slots, **fields})
        except (LookupError, AttributeError, TypeError, ValueError, ArithmeticError):
            return _sentence(_plain(result))  # not what the sentence is for: a fault, most often, in words
        if not isinstance(result, dict) and isinstance(said, str) and "{result" not in said:
            return _sentence(_plain(result))
        return _sentence(text)


def _rank(found: Found) -> tuple[float, float]:
    return round(found.score, 1), found.weight


def _with(rule: Rule, slots: dict[str, str]) -> _Meant | None:
    """The rule with its slots filled; None where its arguments cannot be made of them."""
    made = rule.arguments(slots) if rule.arguments is not None else slots
    return None if made is None else _Meant(rule, slots, dict(made))


def _again(meant: _Meant, said: str) -> _Meant | None:
    """The same question about something else."""
    slot = meant.rule.follow or next(iter(meant.slots), "")
    return _with(meant.rule, {**meant.slots, slot: said}) if slot else None


def _fit(arguments: Mapping[str, Any], tool: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the tool's schema wants them: a number where it takes a number."""
    properties = (tool.get("parameters") or {}).get("properties") or {}
    made = dict(arguments)
    for name, value in arguments.items():
        kind = properties.get(name, {}).get("type") if isinstance(properties.get(name), dict) else None
        if kind in ("integer", "number") and isinstance(value, str) and (number := number_of(value)) is not None:
            made[name] = round(number) if kind == "integer" else number
    return made


def _plain(value: Any) -> str:
    """A result in words, where no rule says how."""
    if isinstance(value, dict):
        if len(value) == 1:
            return _plain(next(iter(value.values())))
        return ", ".join(f"{name.replace('_', ' ')}: {_plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    return "done" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _sentence(text: str) -> str:
    """A capital at the beginning, a full stop at the end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""
