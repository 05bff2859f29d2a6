"""Rules: what they understand, what they call, what they say of it, and that they say so when they do not know."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.cascade.parts import Prompt, ToolRequest
from bargein.services.history import Entry, History
from bargein.services.providers.rules import (
    SMALL_TALK,
    TOOLS,
    Rule,
    Rules,
    calculate,
    current_date,
    current_time,
    weather,
)
from bargein.services.providers.rules._meaning import RuleBook
from bargein.services.providers.rules._sums import calculate_text, is_sum
from bargein.services.providers.rules.small_talk import HELP
from bargein.services.tools import Toolbox, ToolError
from bargein.services.tools.tool import encode

BOX = Toolbox(TOOLS)
HELLO = "Hello. What can I do for you?"
WHO = "I am the demo of Bargein: a small set of rules with a voice, and no language model."


class TurnState:
    """A conversation with rules, their tools run at once."""

    def __init__(self, rules: Rules | None = None, tools: Toolbox = BOX) -> None:
        self.rules, self.tools, self.history = rules or Rules(), tools, History()
        self.calls: list[tuple[str, Any]] = []

    def say(self, text: str) -> str:
        self.history.user(text)
        said: list[str] = []
        for _ in range(3):
            pieces = self.rules.pieces(Prompt(entries=self.history.remembered, tools=self.tools.schemas))
            said += [piece for piece in pieces if isinstance(piece, str)]
            for piece in pieces:
                if isinstance(piece, str):
                    self.history.assistant(piece, f"a{len(self.history)}")
            calls = [piece for piece in pieces if isinstance(piece, ToolRequest)]
            for each in calls:
                self.run(each)
            if not calls:
                break
        return " ".join(said)

    def run(self, each: ToolRequest) -> None:
        self.calls.append((each.name, json.loads(each.arguments)))
        number, tool = f"c{len(self.history)}", self.tools.get(each.name)
        assert tool is not None
        self.history.call(number, each.name, each.arguments)
        try:
            self.history.result(number, encode(tool(**tool.decode(each.arguments))))
        except ToolError as error:
            self.history.result(number, str(error))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Hello!", "Hello. What can I do for you?"),
        ("uh, good morning", "Hello. What can I do for you?"),
        ("My name is Anna.", "Nice to meet you, Anna."),
        ("my name's anna maria please", "Nice to meet you, Anna Maria."),
        ("What is the weather in Paris?", "It is sunny in Paris, 21 degrees."),
        ("hello, whats the wheather in um londn", "It is rainy in London, 14 degrees."),
        ("can you tell me what the weather is like in san francisco", "It is foggy in San Francisco, 16 degrees."),
        ("whether in pariss please", "It is sunny in Paris, 21 degrees."),
        ("weather in Atlantis", "I do not know Atlantis; my table has 12 cities."),
        ("seven times six", "Seven times six is 42."),
        ("What's seven times six?", "Seven times six is 42."),
        ("how much is a hundred and five divided by three", "A hundred and five divided by three is 35."),
        ("what is one divided by zero", "I cannot work that out: nothing can be divided by zero."),
        ("is that the real weather", "No, it is from a small table of mine, and always the same."),
        ("thank you very much", "You are welcome."),
        ("no no no stop", "All right."),
    ],
)
def test_it_holds_a_conversation(said: str, answer: str) -> None:
    """Words that are misheard, missing or too many do not matter; results are told in sentences."""
    assert TurnState().say(said) == answer


@pytest.mark.parametrize(
    "said",
    [
        "what is the meaning of life",
        "what is the capital of France",
        "the quick brown fox jumps",
        "what is 42",
        "hello how is it going I have this terrible headache today",
        "?!",
        "und wie ist das Wetter in Köln",
        "i do not want a joke",
        "the joke is on you",
        "what time do you close",
        "i have no time",
        "time flies",
        "call me back later",
        "stop the music",
        "do not stop",
        "set an alarm for seven",
        "what day is it tomorrow",
        "how much does it cost to send a letter to canada",
        "turn off the lights in the living room",
        "when does the next train leave for london",
        "no that is not what i asked for please cancel the order",
        "i forgot my password and now i can not open my account",
        "can you tell me where my order is i have been waiting since monday",
        "the number on the card is four nine two seven",
        "my address is twelve green street then turn left",
        "well i am not sure about this let me think about it and call you back tomorrow",
    ],
)
def test_it_says_when_it_has_no_rule(said: str) -> None:
    """What no rule fits is not guessed at: it says what it can do."""
    talk = TurnState()
    assert talk.say(said).startswith("Sorry, I have no rule for that. I can tell the time, the date and the weather")
    assert talk.calls == []


def test_follow_ups() -> None:
    """The last question is asked again about something else, also of a rule without a slot."""
    talk = TurnState()
    assert talk.say("What is the weather in Paris?") == "It is sunny in Paris, 21 degrees."
    assert talk.say("And in Rome?") == "It is sunny in Rome, 26 degrees."
    assert talk.say("how about new york") == "It is cloudy in New York, 16 degrees."
    talk.say("What time is it?")
    talk.say("in tokyo")
    talk.say("and in Tokyo?")
    assert talk.calls[-3:] == [("current_time", {}), *(("current_time", {"city": city}) for city in ("tokyo", "Tokyo"))]
    assert talk.say("Goodbye") == "Goodbye."
    assert talk.say("and in Rome?").startswith("Sorry")


def test_a_question_of_its_own_is_answered() -> None:
    """After "In which city?" a city is enough; something else is something else."""
    talk = TurnState()
    assert talk.say("what's the weather") == "In which city?"
    assert talk.say("uh Paris") == "It is sunny in Paris, 21 degrees."
    assert talk.say("what's the weather") == "In which city?"
    assert talk.say("never mind") == "All right."


def test_slots_are_remembered() -> None:
    """An answer may use what was said in an earlier turn, the latest of it, or say that nobody has."""
    talk = TurnState()
    assert talk.say("what is my name") == "You have not told me your name."
    talk.say("my name is Ann")
    talk.say("no, my name is Anna")
    assert talk.say("what's my name?") == "You told me: Anna."


def test_a_tool_that_nobody_gave() -> None:
    """Without the tool it says so, and calls nothing."""
    answer = TurnState(tools=Toolbox([calculate])).say("What is the weather in Paris?")
    assert answer == "For that I need the tool weather, which I do not have."


def test_rules_of_ones_own() -> None:
    """Text before a call, and a sentence of the result, which may use the slots."""

    def order(dish: str) -> str:
        """Order something."""
        return "4 euros"

    rules = Rules([Rule("i want {dish}", "One moment.", call="order", result="{dish}: that makes {result}.")])
    talk = TurnState(rules, Toolbox([order]))
    assert talk.say("I want noodle soups") == "One moment. Noodle soups: that makes 4 euros."
    assert talk.calls == [("order", {"dish": "noodle soups"})]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ('{"sum": 3, "fine": true}', "Sum: 3, fine: yes."),
        ('"done!"', "Done!"),
        ("null", "Done."),
        ("[1, 2]", "1, 2."),
        ("it broke", "It broke."),
        ("", "Done."),
    ],
)
def test_results_without_a_sentence(output: str, said: str) -> None:
    """A result that no rule has a sentence for is told as it is."""
    entries = [Entry(role="user", text="x"), Entry(role="call", call_id="a", name="other", output=output)]
    assert Rules().pieces(Prompt(entries=entries)) == [said]


def test_it_greets_and_asks_again() -> None:
    """Asked first of all it greets; asked after its own words, it asks whether there is anything else."""
    assert Rules().pieces(Prompt(entries=[])) == ["Hello. What can I do for you?"]
    assert Rules().pieces(Prompt(entries=[Entry(role="assistant", text="Hello.")])) == [Rules().nudge]
    assert Rules(nudge="").pieces(Prompt(entries=[Entry(role="assistant", text="Hello.")])) == []


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "call", "system"]), st.text(max_size=40)), max_size=6))
def test_nothing_makes_it_stumble(said: list[tuple[Any, str]]) -> None:
    """Whatever is said, it answers, and the same twice."""
    entries = [Entry(role=role, text=text, name="weather", output=text) for role, text in said]
    prompt = Prompt(entries=entries, tools=BOX.schemas)
    assert Rules().pieces(prompt) == Rules().pieces(prompt)


def test_a_long_conversation_is_looked_back_at_in_bounds() -> None:
    """A thousand follow-ups are no deep recursion."""
    entries = [Entry(role="user", text="weather in Paris"), *[Entry(role="user", text="and in Rome")] * 1000]
    assert Rules().pieces(Prompt(entries=entries, tools=BOX.schemas))


async def test_words_are_streamed() -> None:
    """Word by word, joined without adding anything."""
    prompt = Prompt(entries=[Entry(role="user", text="who are you")])
    pieces = [piece async for piece in Rules().answer(prompt)]
    assert "".join(map(str, pieces)) == WHO
    assert len(pieces) == len(WHO.split())


async def test_a_call_is_streamed() -> None:
    """A call comes as the piece that it is."""
    prompt = Prompt(entries=[Entry(role="user", text="weather in Rome")], tools=BOX.schemas)
    assert [piece async for piece in Rules().answer(prompt)] == [
        ToolRequest(name="weather", arguments='{"city":"Rome"}')
    ]


@pytest.mark.parametrize("rule", SMALL_TALK, ids=lambda rule: rule.phrases[:20])
def test_every_phrase_finds_its_rule(rule: Rule) -> None:
    """No rule takes an example of another one."""
    filled = {"city": "Rome", "expression": "two plus two", "name": "Anna"}
    for phrase in rule.phrases.split("|"):
        said = re.sub(r"\{(\w+)(\.\.\.)?\}", lambda match: filled[match[1]], phrase)
        meant = RuleBook(SMALL_TALK).understand([Entry(role="user", text=said)])
        assert meant is not None
        assert meant[0] is rule, said


INTENTS: dict[str, tuple[str, ...]] = {
    HELLO: ("hello", "Hi!", "hey there", "uh good morning", "good evening to you", "hello hello"),
    WHO: ("who are you", "whats your name", "are you a robot", "what are you exactly", "are you a real human being"),
    f"{HELP} Interrupt me whenever you like.": (
        "what can you do",
        "what can you do for me",
        "can you help me please",
        "help",
        "so what do you know",
        "hello what can i ask you",
        "can you do maths",
    ),
    "Why did the queue wait? Because it was bounded.": (
        "tell me a joke",
        "can you please tell me a really good joke",
        "do you know a joke",
        "another joke",
        "make me laugh",
        "tell me a jok",
    ),
    "I am well, thank you. How are you?": (
        "how are you",
        "hello how are you today",
        "hows it going",
        "how are you doing",
    ),
    "You are welcome.": ("thanks", "thank you", "okay thank you", "thanks a lot", "thank you very much"),
    "Goodbye.": ("bye", "goodbye", "okay bye bye", "thank you very much, goodbye", "good night", "see you later"),
    "All right.": ("stop", "please stop", "no no no stop", "never mind", "No, wait.", "be quiet", "no thank you"),
    "In which city?": ("whats the weather", "how is the weather today", "is it raining", "will it rain tomorrow"),
    "Yes, I hear you.": ("can you hear me", "hello can you hear me", "are you there", "testing"),
    "I have not said anything yet.": (
        "repeat that",
        "say that again please",
        "sorry could you say that again",
        "what did you say",
        "i did not catch that",
        "pardon",
    ),
    "I cannot change how fast this voice speaks, but I can say things again.": (
        "speak slower",
        "please speak a little more slowly",
        "can you speak slower please",
        "thats too fast",
        "slow down",
    ),
}
"""What the ear writes, by its answer: lower case or not, with fillers, without apostrophes, in many orders."""
CALLS: dict[tuple[str, str], tuple[str, ...]] = {
    ("current_time", "{}"): (
        "what time is it",
        "whats the time",
        "could you please tell me what time it is right now",
        "do you have the time",
        "I was thinking about my day. What time is it?",
    ),
    ("current_time", '{"city":"tokyo"}'): ("what time is it in tokyo", "whats the time in tokyo right now"),
    ("current_date", "{}"): (
        "what day is it",
        "whats the date today",
        "whats todays date",
        "which day of the week is it",
    ),
    ("weather", '{"city":"rome"}'): (
        "whats the weather in rome",
        "whats the weather going to be like in rome tomorrow",
        "hey can you tell me the weather in rome today",
        "hows the weather in rome",
        "is it going to rain in rome",
        "how warm is it in rome",
    ),
    ("calculate", '{"expression":"seven times six"}'): (
        "seven times six",
        "what is seven times six",
        "hey whats seven times six please",
        "how much is seven times six",
        "calculate seven times six",
    ),
}


@pytest.mark.parametrize(("said", "answer"), [(each, answer) for answer, all_ in INTENTS.items() for each in all_])
def test_what_newcomers_say_first(said: str, answer: str) -> None:
    """Each intent is understood in many ways of saying it."""
    prompt = Prompt(entries=[Entry(role="user", text=said)], tools=BOX.schemas)
    assert Rules().pieces(prompt) == [answer]


@pytest.mark.parametrize(("said", "call"), [(each, call) for call, all_ in CALLS.items() for each in all_])
def test_what_calls_a_tool(said: str, call: tuple[str, str]) -> None:
    """With the words of the slot alone, and without those around it."""
    prompt = Prompt(entries=[Entry(role="user", text=said)], tools=BOX.schemas)
    assert Rules().pieces(prompt) == [ToolRequest(name=call[0], arguments=call[1])]


def test_the_last_answer_is_said_again() -> None:
    """All of it, also what an interrupt cut off, and again when it is asked for again."""
    talk = TurnState()
    talk.history.user("What is the weather in Paris?")
    talk.history.assistant("One moment. ", "a")
    talk.history.call("c", "weather", '{"city": "Paris"}')
    talk.history.result("c", "{}")
    talk.history.assistant("It is sunny in Paris, 21 degrees.", "b")
    assert talk.history.last is not None
    talk.history.last.heard = "It is sunny"
    whole = "One moment. It is sunny in Paris, 21 degrees."
    assert talk.say("Sorry, could you say that again?") == whole
    assert talk.say("one more time please") == whole
    assert talk.say("slower please") == f"I cannot change how fast this voice speaks. Once more: {whole}"


def test_several_answers_take_turns() -> None:
    """Jokes, and what is said without a rule."""
    talk = TurnState()
    jokes = [talk.say(each) for each in ("tell me a joke", "another joke", "one more joke")]
    assert len(set(jokes)) == 3
    assert talk.say("another joke") == jokes[0]
    first, other = talk.say("what is love"), talk.say("what is the meaning of life")
    assert first.startswith("Sorry, I have no rule for that. ")
    assert other.startswith("Sorry, I have no rule for that either.")


@pytest.mark.parametrize("said", [*INTENTS, "tell me a joke", "what is the weather in paris", "what is love"])
def test_it_does_not_talk_to_itself(said: str) -> None:
    """What sounds like its last answer is its own voice. It says so, calls nothing, and no answer grows."""
    talk = TurnState()
    answer = talk.say(said)
    calls = len(talk.calls)
    for _ in range(4):
        answer = talk.say(answer.lower().replace("?", "").replace(".", ""))
        assert answer == "I think I hear myself. Headphones help."
    assert len(talk.calls) == calls


# Sums and tools -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("seven times six", 42),
        ("twelve plus thirty-four", 46),
        ("2 + 3 * 4", 14),
        ("(2 + 3) × 4", 20),
        ("two hundred and four minus four", 200),
        ("one thousand two hundred plus one", 1201),
        ("one million plus one", 1_000_001),
        ("two hundred and five thousand and six over two", 102_503),
        ("minus three plus five", 2),
        ("1,000.5 minus 0.5 please", 1000),
        ("3.5 plus 1.2", 4.7),
        ("three point one four plus one", 4.14),
        ("15% of 80", 12),
        ("fifteen percent of eighty", 12),
        ("half of ten", 5),
        ("seven squared", 49),
        ("two to the power of ten", 1024),
        ("two plus to", 4),
        ("seven times for", 28),
        ("9 ** 9", 387_420_489),
    ],
)
def test_sums(said: str, value: float) -> None:
    """Sums are worked out as they are written or spoken."""
    assert calculate_text(said) == pytest.approx(value)
    assert is_sum(said)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "seven",
        "seven times",
        "import os",
        "2 + x2",
        "seven six",
        "to",
        "i have to go for a walk",
        "ten five",
        "zero five",
        "twenty eleven",
        "(2)(3)",
        "(" * 500,
        "1e9",
        "9" * 400,
    ],
)
def test_what_is_no_sum(said: str) -> None:
    """What cannot be worked out is no sum, however it tries."""
    assert not is_sum(said)


@pytest.mark.parametrize(
    "said", ["9" * 400 + " + 1", "9 ** 9 ** 9", "(-8) ** 0.5", "999999 * 999999 * 999999 * 999999", "1 + " + "9" * 100]
)
def test_a_sum_has_bounds(said: str) -> None:
    """A value that nobody can say is an error."""
    with pytest.raises(ValueError, match=r"not a sum|too large"):
        calculate_text(said)


@given(st.text(alphabet="0123456789.+-*/^()% abcdefghijklmnopqrstuvwxyz", max_size=60))
def test_any_text_is_a_sum_or_none(text: str) -> None:
    """No text gets further than an error that is meant for it."""
    with contextlib.suppress(ValueError, ZeroDivisionError):
        assert isinstance(calculate_text(text), float)


def test_the_tools() -> None:
    """They are plain functions, and say where they know it from."""
    assert weather("pariss") == {
        "city": "Paris",
        "sky": "sunny",
        "degrees": 21,
        "source": "a fixed table, not a forecast",
    }
    assert calculate("seven times six") == {"expression": "seven times six", "value": 42}
    assert re.fullmatch(r"\d\d:\d\d", current_time()["time"])
    assert current_time("Tokio")["place"] == "in Tokyo"
    assert re.fullmatch(r"[A-Z][a-z]+day, \d\d? [A-Z][a-z]+ \d{4}", current_date("oslo")["date"])
    with pytest.raises(ToolError, match="do not know Atlantis"):
        weather("Atlantis")
    with pytest.raises(ToolError, match="is not a number"):
        calculate("apples")
    assert "not a forecast" in weather.description
