"""The built-in rules: small talk, and when to call the tools of `TOOLS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ._numbers import format_number, format_seconds, is_sum, parse_seconds

__all__ = ["HELP", "SMALL_TALK", "Rule"]


@dataclass(frozen=True)
class Rule:
    """What to answer to a sentence, or which tool to call for it.

    Example::

        Rule("my name is {name}", "Nice to meet you, {name}.")
        Rule("what is the weather in {city}", call="weather", result="It is {sky} in {city}, {degrees} degrees.")

    A slot `{name}` takes up to three words, `{name...}` any number. Most of a pattern must be said, but not all, and
    not exactly. What users have said in slots is remembered: an answer may use slots of earlier turns.
    """

    pattern: str | tuple[str, ...]
    """What the user says; a tuple for several ways to say it."""
    answer: str = ""
    """The answer, spoken before a tool call if there is one. `{name!t}` is a slot in title case."""
    call: str = field(default="", kw_only=True)
    """The name of the tool to call. The slots are its arguments."""
    arguments: Callable[[dict[str, str]], Mapping[str, Any] | None] | None = field(default=None, kw_only=True)
    """Returns the arguments for some slots; None if the rule does not fit these slots."""
    result: str | Callable[[Mapping[str, Any]], str] = field(default="", kw_only=True)
    """The sentence for the tool's result, filled with its fields and the slots. `{result}` is a result without
    fields."""
    follow_up: str = field(default="", kw_only=True)
    """The slot that "and in Rome?" fills again; by default the first of the pattern."""
    asks: str = field(default="", kw_only=True)
    """For an answer that is a question: the words that, before the user's reply, make a sentence of another rule."""
    unknown: str = field(default="", kw_only=True)
    """The answer if a slot that `answer` needs was never filled."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All ways to say it."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern


def _expression(slots: dict[str, str]) -> dict[str, Any] | None:
    expression = slots.get("expression", "")
    return {"expression": expression} if is_sum(expression) else None


def _seconds(slots: dict[str, str]) -> dict[str, Any] | None:
    seconds = parse_seconds(slots.get("duration", ""))
    return None if seconds is None else {"seconds": seconds}


def _time_sentence(result: Mapping[str, Any]) -> str:
    return f"It is {result['time']} in {result['city']}." if result.get("city") else f"It is {result['time']}."


def _sum_sentence(result: Mapping[str, Any]) -> str:
    return f"{result['expression']} is {format_number(float(result['result']))}."


def _timer_sentence(result: Mapping[str, Any]) -> str:
    duration = format_seconds(float(result["seconds"]))
    return f"{duration} from now it will be {result['until']}. I cannot ring by myself."


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
        result="It is {sky} in {city}, {degrees} degrees.",
    ),
    Rule(
        ("how warm is it in {city}", "how cold is it in {city}"), call="weather", result="{degrees} degrees in {city}."
    ),
    Rule(("is it raining in {city}", "is it sunny in {city}"), call="weather", result="It is {sky} in {city}."),
    Rule(("what is the weather", "how is the weather"), "In which city?", asks="what is the weather in"),
    Rule("is that the real weather", "No, it is from a small table of mine, and always the same."),
    Rule(("what time is it in {city}", "what is the time in {city}"), call="current_time", result=_time_sentence),
    Rule(("what time is it", "what is the time"), call="current_time", result=_time_sentence, follow_up="city"),
    Rule(
        ("set a timer for {duration...}", "timer {duration...}", "wake me in {duration...}"),
        call="set_timer",
        arguments=_seconds,
        result=_timer_sentence,
    ),
    Rule(("set a timer", "start a timer"), "For how long?", asks="set a timer for"),
    Rule(
        ("what is {expression...}", "calculate {expression...}", "how much is {expression...}", "{expression...}"),
        call="calculate",
        arguments=_expression,
        result=_sum_sentence,
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
"""Greetings, names, thanks, and calls of `TOOLS`."""
