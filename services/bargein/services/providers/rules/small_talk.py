"""The built-in rules: what newcomers say first, and when to call the tools of `TOOLS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Final

from ._sums import is_sum

__all__ = ["HELP", "SMALL_TALK", "Rule"]


@dataclass(frozen=True)
class Rule:
    """What to answer to a sentence, or which tool to call for it.

    Example::

        Rule("my name is {name}", "Nice to meet you, {name}.")
        Rule("weather in {city} | is it raining in {city}", call="weather", result="It is {sky} in {city}.")

    A phrase has one slot at most: `{name}` takes up to three words, `{name...}` any number. Most of a phrase must be
    said, but not all, and not exactly. What users have said in slots is remembered: an answer may use slots of earlier
    turns. `{last_answer}` is what the agent has said last, all of it, even if the user heard less.
    """

    phrases: str
    """What users say; several ways to say it are separated by `|`."""
    answer: str | tuple[str, ...] = ""
    """The answer, spoken before a tool call if there is one. Of several, each time the next one."""
    _: KW_ONLY
    call: str = ""
    """The name of the tool to call. The slots are its arguments."""
    result: str = ""
    """The sentence for the tool's result, made of its fields and the slots. `{result}` is a result without fields."""
    fits: Callable[[Mapping[str, str]], bool] = lambda slots: True
    """Tells whether the rule fits these slots; by default it always does."""
    asks: str = ""
    """For an answer that is a question: the words that, before the user's reply, make a sentence of another rule."""
    unknown: str = ""
    """The answer if something that `answer` needs is not known."""


HELP: Final = "I can tell the time, the date and the weather, work out sums, tell jokes, and say things again."
SMALL_TALK: Final[tuple[Rule, ...]] = (
    Rule(
        "what is the weather in {city} | weather in {city} | tell me the weather in {city} | what is the forecast "
        "for {city} | how is the weather looking in {city} | weather forecast for {city}",
        call="weather", result="It is {sky} in {city}, {degrees} degrees.",
    ),
    Rule(
        "how warm is it in {city} | how cold is it in {city} | how hot is it in {city} | temperature in {city}",
        call="weather", result="{degrees} degrees in {city}.",
    ),
    Rule(
        "is it raining in {city} | is it sunny in {city} | will it rain in {city} | is it snowing in {city}",
        call="weather", result="It is {sky} in {city}.",
    ),
    Rule(
        "what is the weather | how is the weather outside | what is the weather tomorrow | is it raining | will it "
        "rain tomorrow | weather forecast",
        "In which city?", asks="what is the weather in",
    ),
    Rule("is that the real weather", "No, it is from a small table of mine, and always the same."),
    Rule(
        "what time is it | tell me the time | do you have the time | current time | what time is it in {city} | time "
        "in {city} | tell me the time in {city} | current time in {city}",
        call="current_time", result="It is {time} {place}.",
    ),
    Rule(
        "what is the date | what day is it | what day of the week is it | which weekday is it | what year is it | "
        "which month is it | what is today's date | current date",
        call="current_date", result="Today is {date}.",
    ),
    Rule(
        "what is {expression...} | calculate {expression...} | compute {expression...} | how much is {expression...} "
        "| what does {expression...} make | {expression...}",
        call="calculate", result="{expression} is {value}.", fits=lambda slots: is_sum(slots["expression"]),
    ),
    Rule("my name is {name} | my name {name}", "Nice to meet you, {name}."),
    Rule(
        "what is my name | do you remember my name | do you know my name | who am i",
        "You told me: {name}.", unknown="You have not told me your name.",
    ),
    Rule(
        "who are you | what are you | what is your name | your name | introduce yourself | are you a robot | are you "
        "human | are you real | are you an ai | are you a real person | are you a real human | am i talking to a "
        "robot",
        "I am the demo of Bargein: a small set of rules with a voice, and no language model.",
    ),
    Rule(
        "what can you do | what can i ask you | what can i say | help me | help | what do you know | what do you do "
        "| what are your skills | how does this work | what are you able to do | what else can you do | can you do "
        "maths | can you calculate",
        f"{HELP} Interrupt me whenever you like.",
    ),
    Rule(
        "tell me a joke | another joke | do you know any jokes | one more joke | say something funny | make me laugh",
        (
            "Why did the queue wait? Because it was bounded.",
            "There are ten kinds of people: those who know binary numbers, and those who do not.",
            "I know a joke about silence, but you would take it for the end of my turn.",
        ),
    ),
    Rule(
        "repeat that | say that again | could you say that again | come again | pardon | what did you say | i did "
        "not hear you | i did not catch that | i did not understand | one more time | again | once more | what was "
        "that | excuse me",
        "{last_answer}", unknown="I have not said anything yet.",
    ),
    Rule(
        "speak slower | slower please | slow down | speak more slowly | talk slower | you are too fast | too fast | "
        "not so fast | do not speak so fast",
        "I cannot change how fast this voice speaks. Once more: {last_answer}",
        unknown="I cannot change how fast this voice speaks, but I can say things again.",
    ),
    Rule(
        "speak louder | speak up | louder please | you are too quiet | speak faster | talk faster | faster please | "
        "too loud",
        "I cannot change how this voice speaks, but your loudspeaker can be louder or quieter.",
    ),
    Rule(
        "how are you | how are you doing | how is it going | how do you do | are you okay | are you well | how do "
        "you feel",
        "I am well, thank you. How are you?",
    ),
    Rule("i am fine | i am good | i am well | i am great | not bad | i am doing well | fine", "I am glad to hear it."),
    Rule("what about you | and you | how about you", "I am well, thank you."),
    Rule("i am sad | i am tired | i feel bad | i am not well | i am not good", "I am sorry to hear it."),
    Rule(
        "do you speak german | do you speak french | do you speak spanish | what languages do you speak",
        "Only English.",
    ),
    Rule("thank you | thanks | thank you so much | thanks a lot | thank you very much | cheers", "You are welcome."),
    Rule(
        "never mind | forget it | stop | stop it | stop talking | wait | no wait | be quiet | shut up | silence | "
        "enough | cancel | that is enough | hold on | quiet",
        "All right.",
    ),
    Rule(
        "goodbye | bye | bye bye | good bye | see you | see you later | see you soon | good night | have a nice day "
        "| talk to you later | i have to go",
        "Goodbye.",
    ),
    Rule("can you hear me | do you hear me | are you there | is anybody there | testing | test", "Yes, I hear you."),
    Rule(
        "hello | hi | hey | hello there | hi there | hey there | hello hello | good morning | good evening | "
        "good afternoon | good day | "
        "greetings",
        "Hello. What can I do for you?",
    ),
    Rule("yes | yeah | okay | sure | right | good", "Good. What else?"),
    Rule("no | no thank you | nothing | that is all", "All right."),
)  # fmt: skip
"""Greetings, names, jokes, thanks, repetitions, and calls of `TOOLS`."""
