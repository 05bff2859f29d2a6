"""A language model made of rules with slots: good enough for a demonstration, and what tests use."""

from __future__ import annotations

import difflib
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final

import anyio.lowlevel
import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.cascade.parts import LanguageModel, Prompt, ToolRequest
from bargein.services.history import Entry

from ._match import split_words
from ._meaning import Meaning, RuleBook
from .small_talk import HELP, SMALL_TALK, Rule

__all__ = ["Rules"]

FALLBACK: Final = (
    f"Sorry, I have no rule for that. {HELP}",
    "Sorry, I have no rule for that either. Ask me what time it is in Tokyo, or for a joke.",
)
OWN_VOICE: Final = "I think I hear myself. Headphones help."
OWN_SHARE: Final = 0.75
"""Words that are as much like the last answer are the agent's own, which the microphone has heard."""
MAX_LOOK_BACK: Final = 20
"""Entries of the conversation that are looked at."""


class Rules(LanguageModel):
    """A rule-based language model. It needs no key and no network, and is deterministic.

    The rule that fits best answers; of several that fit alike, the first. A rule can call a tool of the agent; the
    tool's result is then put into the rule's sentence. "And in Rome?" asks the last question again with another slot.

    Args:
        rules: The rules, the more specific ones first.
        fallback: The answer if no rule fits. Of several, each time the next one.
        greeting: The answer to a prompt in which nobody has said anything; empty for none.
        nudge: The answer where the agent has spoken last and is asked to speak again; empty for none.
    """

    @check_options
    def __init__(
        self,
        rules: Iterable[Rule] = SMALL_TALK,
        *,
        fallback: str | tuple[str, ...] = FALLBACK,
        greeting: str = "Hello. What can I do for you?",
        nudge: str = "Is there anything else that I can do for you?",
    ) -> None:
        self.greeting = greeting
        """The answer to a prompt in which nobody has said anything."""
        self.nudge = nudge
        """The answer where the agent has spoken last and is asked to speak again."""
        self._fallback = fallback
        self._rules = RuleBook(rules)

    async def answer(self, prompt: Prompt) -> AsyncGenerator[str | ToolRequest, None]:
        """Yield the answer to a prompt: text word by word, and tool calls."""
        for piece in self.pieces(prompt):
            for part in re.findall(r"\s*\S+\s*", piece) if isinstance(piece, str) else [piece]:
                await anyio.lowlevel.checkpoint()
                yield part

    def pieces(self, prompt: Prompt) -> list[str | ToolRequest]:
        """Return the whole answer to a prompt at once. No I/O.

        Args:
            prompt: The conversation and the tools.
        """
        entries = [entry for entry in prompt.entries if entry.role != "system"][-MAX_LOOK_BACK:]
        last = entries[-1] if entries else None
        if last is None or last.role == "assistant":
            text = self.nudge if last else self.greeting
            return [text] if text else []
        if last.role == "call":
            start = max((n for n, entry in enumerate(entries, 1) if entry.role != "call"), default=0)
            told = [self._tell(each, entries[:start]) for each in entries[start:] if each.output is not None]
            return [" ".join(told)] if told else []
        said, own = split_words(last.remembered.lower()), split_words(_last_answer(entries).lower())
        if own and difflib.SequenceMatcher(None, own, said, autojunk=False).ratio() >= OWN_SHARE:
            return [OWN_VOICE]  # an answer to it could go on for ever
        return self._respond(self._rules.understand(entries), entries, {tool.get("name") for tool in prompt.tools})

    # What is answered ---------------------------------------------------------------------------------------------

    def _respond(self, meaning: Meaning | None, entries: Sequence[Entry], tools: set[Any]) -> list[str | ToolRequest]:
        rule, slots = meaning or (Rule("", self._fallback), {})
        pieces: list[str | ToolRequest] = []
        if answer := _next_of(rule.answer, entries):
            known = self._recall(entries[:-1]) if "{" in answer else {}
            try:
                pieces.append(answer.format(**known | {name: _title(each) for name, each in slots.items()}))
            except KeyError:
                return [rule.unknown or _next_of(self._fallback, entries)]
        if rule.call and rule.call not in tools:
            pieces.append(f"For that I need the tool {rule.call.replace('_', ' ')}, which I do not have.")
        elif rule.call:
            pieces.append(ToolRequest(name=rule.call, arguments=msgspec.json.encode(slots).decode()))
        return pieces

    def _recall(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return what users have said in slots, the latest of each, and what the agent has said last."""
        known: dict[str, str] = {}
        for entry in entries:
            if entry.role == "user" and (meaning := self._rules.find(entry.remembered)[1]):
                known |= {name: _title(each) for name, each in meaning[1].items()}
        last = _last_answer(entries)
        return known | ({"last_answer": last} if last else {})

    def _tell(self, call: Entry, before: Sequence[Entry]) -> str:
        """Return a tool's result as a sentence."""
        end = max((n for n, each in enumerate(before, 1) if each.role == "user"), default=0)
        rule, slots = (self._rules.understand(before[:end]) if end else None) or (Rule(""), {})
        try:
            result = msgspec.json.decode(call.output or "null")
        except (msgspec.DecodeError, RecursionError):
            result = call.output  # plain text, or the message of an error
        text = _describe(result)
        if rule.call == call.name:
            try:
                fields = result if isinstance(result, dict) else {"result": result}
                text = rule.result.format(**{**slots, **fields}) or text
            except (LookupError, AttributeError, TypeError, ValueError):
                pass  # the result is not what the sentence is for: usually an error message
        return text[:1].upper() + text[1:] + "." * (not text.endswith((".", "!", "?")))


def _title(name: str) -> str:
    return name.title() if name.islower() else name


def _last_answer(entries: Sequence[Entry]) -> str:
    """Return the agent's words between the user's last ones that it has answered and those after them."""
    texts: list[str] = []
    for entry in reversed(entries):
        if entry.role == "assistant":
            texts.insert(0, entry.text.strip())
        elif entry.role == "user" and texts:
            break
    return " ".join(texts)


def _next_of(answers: str | tuple[str, ...], entries: Sequence[Entry]) -> str:
    """Return the answer, or of several the one after those that were given."""
    if isinstance(answers, str):
        return answers
    return answers[sum(entry.text.strip() in answers for entry in entries if entry.role == "assistant") % len(answers)]


def _describe(value: Any) -> str:
    """Return a result in words, for results without a sentence."""
    if isinstance(value, dict) and len(value) != 1:
        return ", ".join(f"{name.replace('_', ' ')}: {_describe(each)}" for name, each in value.items())
    if isinstance(value, dict | list):
        return ", ".join(map(_describe, value.values() if isinstance(value, dict) else value))
    return "done" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)
