"""The built-in rules: small talk, and when to call the tools of `TOOLS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ._sums import is_sum

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
    result: str = field(default="", kw_only=True)
    """The sentence for the tool's result, filled with its fields and the slots. `{result}` is a result without
    fields."""
    fits: Callable[[Mapping[str, str]], bool] = field(default=lambda slots: True, kw_only=True)
    """Tells whether the rule fits these slots; by default it always does."""
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


HELP: Final = "I can tell the time and the weather, work out sums, and talk a little."
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
    Rule(
        ("what time is it in {city}", "what is the time in {city}"),
        call="current_time",
        result="It is {time} {place}.",
    ),
    Rule(
        ("what time is it", "what is the time"), call="current_time", result="It is {time} {place}.", follow_up="city"
    ),
    Rule(
        ("what is {expression...}", "calculate {expression...}", "how much is {expression...}", "{expression...}"),
        call="calculate",
        result="{expression} is {value}.",
        fits=lambda slots: is_sum(slots["expression"]),
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
