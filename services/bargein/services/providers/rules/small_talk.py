"""The built-in rules: small talk, and when to call the tools of `TOOLS`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["HELP", "SMALL_TALK", "Rule"]


@dataclass(frozen=True)
class Rule:
    """What to answer to a sentence, or which tool to call for it.

    Example::

        Rule("my name is {name}", "Nice to meet you, {name}.")
        Rule("what is the weather in {city}", call="weather", result="It is {sky} in {city}, {degrees} degrees.")

    A slot `{name}` takes up to three words, `{name...}` any number. Most of a pattern must be said, but not all, and
    not exactly. "And in Rome?" asks the last question again with another word in its first slot.
    """

    pattern: str | tuple[str, ...]
    """What the user says; a tuple for several ways to say it."""
    answer: str = ""
    """The answer, spoken before a tool call if there is one. Slots in lower case are capitalised in it."""
    call: str = field(default="", kw_only=True)
    """The name of the tool to call. The slots are its arguments."""
    result: str = field(default="", kw_only=True)
    """The sentence for the tool's result, filled with its fields and the slots. `{result}` is a result without
    fields."""
    asks: str = field(default="", kw_only=True)
    """For an answer that is a question: the words that, before the user's reply, make a sentence of another rule."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All ways to say it."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern


HELP: Final = "I can tell the time and the weather, and talk a little."
SMALL_TALK: Final[tuple[Rule, ...]] = (
    Rule(
        (
            "what is the weather in {city}",
            "weather in {city}",
            "how is the weather in {city}",
            "what is the forecast for {city}",
            "how warm is it in {city}",
            "how cold is it in {city}",
            "is it raining in {city}",
            "is it sunny in {city}",
        ),
        call="weather",
        result="It is {sky} in {city}, {degrees} degrees.",
    ),
    Rule(("what is the weather", "how is the weather"), "In which city?", asks="what is the weather in"),
    Rule("is that the real weather", "No, it is from a small table of mine, and always the same."),
    Rule(
        ("what time is it in {city}", "what is the time in {city}", "what time is it", "what is the time"),
        call="current_time",
        result="It is {time} {place}.",
    ),
    Rule(("my name is {name}", "call me {name}"), "Nice to meet you, {name}."),
    Rule("what is my name", "I do not remember names: I am only a small set of rules."),
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
