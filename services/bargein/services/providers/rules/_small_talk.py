"""The rules that come with the house: small talk, and how to call its tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ._numbers import is_sum, numeral, seconds_of, spoken_seconds

__all__ = ["SMALL_TALK", "Rule"]


@dataclass(frozen=True)
class Rule:
    """What to answer to what, or which tool to call for it::

        Rule("my name is {name}", "Nice to meet you, {name}.")
        Rule("what is the weather in {city}", call="weather", said="It is {sky} in {city}, {degrees} degrees.")

    A slot `{name}` takes up to three words, `{name...}` any number. Of a pattern most must be there, but not all, and
    not exactly. A user's slots are remembered: an answer may use those of earlier turns.
    """

    pattern: str | tuple[str, ...]
    """What the user says; several ways to say it are a tuple."""
    answer: str = ""
    """What is said, before a call if there is one. `{name!t}` is a slot with capitals."""
    call: str = field(default="", kw_only=True)
    """The tool to call; the slots are its arguments."""
    arguments: Callable[[dict[str, str]], Mapping[str, Any] | None] | None = field(default=None, kw_only=True)
    """Makes the arguments of the slots; None where the slots are none, so that the rule does not fit."""
    said: str | Callable[[Mapping[str, Any]], str] = field(default="", kw_only=True)
    """The sentence of the tool's result: its fields and the slots fill it; one that is no object is `{result}`."""
    follow: str = field(default="", kw_only=True)
    """The slot that "and in Rome?" fills anew; by default the pattern's first."""
    asks: str = field(default="", kw_only=True)
    """The answer is a question: what the user says next is understood as these words and theirs."""
    unknown: str = field(default="", kw_only=True)
    """What is said where a slot that the answer needs was never filled."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All ways to say it."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern


def _expression(slots: dict[str, str]) -> dict[str, Any] | None:
    expression = slots.get("expression", "")
    return {"expression": expression} if is_sum(expression) else None


def _seconds(slots: dict[str, str]) -> dict[str, Any] | None:
    seconds = seconds_of(slots.get("duration", ""))
    return None if seconds is None else {"seconds": seconds}


def _time_said(found: Mapping[str, Any]) -> str:
    return f"It is {found['time']} in {found['city']}." if found.get("city") else f"It is {found['time']}."


def _sum_said(found: Mapping[str, Any]) -> str:
    return f"{found['expression']} is {numeral(float(found['result']))}."


def _timer_said(found: Mapping[str, Any]) -> str:
    return f"{spoken_seconds(float(found['seconds']))} from now it will be {found['until']}. I cannot ring by myself."


HELP: Final = "I can tell the time and the weather, work out sums, set a timer, and talk a little."
SMALL_TALK: Final[tuple[Rule, ...]] = (
    Rule(
        (
            "what is the weather in {city}",
            "weather in {city}",
            "how is the weather in {city}",
            "what is the forecast for {city}",
        ),
        call="weather",
        said="It is {sky} in {city}, {degrees} degrees.",
    ),
    Rule(("how warm is it in {city}", "how cold is it in {city}"), call="weather", said="{degrees} degrees in {city}."),
    Rule(("is it raining in {city}", "is it sunny in {city}"), call="weather", said="It is {sky} in {city}."),
    Rule(("what is the weather", "how is the weather"), "In which city?", asks="what is the weather in"),
    Rule("is that the real weather", "No, it is from a small table of mine, and always the same."),
    Rule(("what time is it in {city}", "what is the time in {city}"), call="current_time", said=_time_said),
    Rule(("what time is it", "what is the time"), call="current_time", said=_time_said, follow="city"),
    Rule(
        ("set a timer for {duration...}", "timer {duration...}", "wake me in {duration...}"),
        call="set_timer",
        arguments=_seconds,
        said=_timer_said,
    ),
    Rule(("set a timer", "start a timer"), "For how long?", asks="set a timer for"),
    Rule(
        ("what is {expression...}", "calculate {expression...}", "how much is {expression...}", "{expression...}"),
        call="calculate",
        arguments=_expression,
        said=_sum_said,
    ),
    Rule(("my name is {name}", "call me {name}"), "Nice to meet you, {name!t}."),
    Rule("what is my name", "You told me: {name!t}.", unknown="You have not told me your name."),
    Rule(("who are you", "what is your name"), "I am a small set of rules with a voice, and no language model."),
    Rule(("are you a robot", "are you human", "are you an ai"), "I am a program: a small set of rules with a voice."),
    Rule(("what can you do", "help me", "help", "what do you know"), HELP),
    Rule(("how are you", "how are you doing"), "I am well, thank you. How are you?"),
    Rule(("i am fine", "i am good", "i am well"), "I am glad to hear it."),
    Rule(("what about you", "and you"), "I am well, thank you."),
    Rule(("i am sad", "i am tired", "i feel bad"), "I am sorry to hear it."),
    Rule(("tell me a joke", "do you know a joke"), "Why did the queue wait? Because it was bounded."),
    Rule(("thank you", "thanks"), "You are welcome."),
    Rule(("never mind", "forget it", "stop", "wait", "be quiet"), "All right."),
    Rule(("goodbye", "bye", "see you later", "good night"), "Goodbye."),
    Rule(("can you hear me", "are you there"), "Yes, I hear you."),
    Rule(("hello", "hi", "hey", "good morning", "good evening", "good afternoon"), "Hello. What can I do for you?"),
    Rule("yes", "Good. What else?"),
    Rule("no", "All right."),
)
"""Greetings, names, thanks, and the calls of `TOOLS`."""
