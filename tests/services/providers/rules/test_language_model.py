"""Rules: what they understand, what they call, what they say of it, and that they say so when they do not know."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.cascade.parts import Prompt, ToolRequest
from bargein.services.history import Entry, History
from bargein.services.providers.rules import SMALL_TALK, TOOLS, Rule, Rules, current_time, weather
from bargein.services.tools import Toolbox, ToolError
from bargein.services.tools.tool import encode

BOX = Toolbox(TOOLS)


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
        ("how warm is it in Rome", "It is sunny in Rome, 26 degrees."),
        ("what is my name", "I do not remember names: I am only a small set of rules."),
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
    ],
)
def test_it_says_when_it_has_no_rule(said: str) -> None:
    """What no rule fits is not guessed at: it says what it can do."""
    talk = TurnState()
    assert talk.say(said).startswith("Sorry, I have no rule for that. I can tell the time and the weather")
    assert talk.calls == []


def test_follow_ups() -> None:
    """The last question is asked again about something else, also of a rule without a slot."""
    talk = TurnState()
    assert talk.say("What is the weather in Paris?") == "It is sunny in Paris, 21 degrees."
    assert talk.say("And in Rome?") == "It is sunny in Rome, 26 degrees."
    assert talk.say("how about new york") == "It is cloudy in New York, 16 degrees."
    talk.say("What time is it?")
    talk.say("and in Tokyo?")
    assert talk.calls[-2:] == [("current_time", {}), ("current_time", {"city": "Tokyo"})]
    assert talk.say("Goodbye") == "Goodbye."
    assert talk.say("and in Rome?").startswith("Sorry")


def test_a_question_of_its_own_is_answered() -> None:
    """After "In which city?" a city is enough; something else is something else."""
    talk = TurnState()
    assert talk.say("what's the weather") == "In which city?"
    assert talk.say("uh Paris") == "It is sunny in Paris, 21 degrees."
    assert talk.say("what's the weather") == "In which city?"
    assert talk.say("never mind") == "All right."


def test_a_tool_that_nobody_gave() -> None:
    """Without the tool it says so, and calls nothing."""
    answer = TurnState(tools=Toolbox([current_time])).say("What is the weather in Paris?")
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
    assert "".join(str(piece) for piece in pieces) == "I am a small set of rules with a voice, and no language model."
    assert len(pieces) == 14


async def test_a_call_is_streamed() -> None:
    """A call comes as the piece that it is."""
    prompt = Prompt(entries=[Entry(role="user", text="weather in Rome")], tools=BOX.schemas)
    assert [piece async for piece in Rules().answer(prompt)] == [
        ToolRequest(name="weather", arguments='{"city":"Rome"}')
    ]


@pytest.mark.parametrize("rule", SMALL_TALK, ids=lambda rule: rule.patterns[0])
def test_every_rule_is_reached(rule: Rule) -> None:
    """Each rule of the house answers to its own pattern."""
    filled = {"city": "Rome", "name": "Anna"}
    for pattern in rule.patterns:
        said = re.sub(r"\{(\w+)(\.\.\.)?\}", lambda match: filled[match[1]], pattern)
        meant = Rules()._understand([Entry(role="user", text=said)])
        assert meant is not None
        assert meant.rule is rule, said


def test_the_tools() -> None:
    """They are plain functions, and say where they know it from."""
    assert weather("pariss") == {
        "city": "Paris",
        "sky": "sunny",
        "degrees": 21,
        "source": "a fixed table, not a forecast",
    }
    assert re.fullmatch(r"\d\d:\d\d", current_time()["time"])
    assert current_time("Tokio")["place"] == "in Tokyo"
    with pytest.raises(ToolError, match="do not know Atlantis"):
        weather("Atlantis")
    assert "not a forecast" in weather.description
