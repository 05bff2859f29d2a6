"""Answer: turns in, answers out, tools on the way, and a conversation as it was heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from bargein.pipeline import Failure, Interrupt, ResponseEnded, ResponseStarted, Text, ToolCall, ToolResult, Usage
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Sentences, Spoken, Turn
from bargein.services.cascade import Answer, Call, Speak
from bargein.services.frames import Configure, Respond, Say, ToolFinished
from bargein.services.history import Entry, History, HistoryStatistics
from bargein.services.tools import tool

from .parts import Mind, Voice

pytestmark = pytest.mark.virtual


def turn(text: str, number: int = 1, **fields: Any) -> Turn:
    return Turn(turn=number, text=text, **fields)


def said(harness: Harness) -> list[str]:
    """What was written, by response."""
    texts: dict[str, str] = {}
    for frame in harness.of(Text):
        texts[frame.response] = texts.get(frame.response, "") + frame.text
    return list(texts.values())


async def test_a_turn_is_answered() -> None:
    """Piece by piece, between its boundaries, with what it cost."""
    mind = Mind(["Good ", "morning", ".", Usage(input_tokens=3)])
    async with Harness(Answer(mind, instructions="Be kind.")) as harness:
        await harness.send(turn("Hello."))
        await harness.end()
    kinds = [type(frame).__name__ for frame in harness.frames]
    assert kinds == ["Turn", "ResponseStarted", "Text", "Text", "Text", "Usage", "Text", "ResponseEnded"]
    assert [frame.final for frame in harness.of(Text)] == [False, False, False, True]
    assert mind.said == [("user", "Hello.")]
    assert mind.prompts[0].instructions == "Be kind."
    assert harness.of(Usage)[0].response == "response-1"
    assert mind.entered == 0


async def test_tools_are_run_and_the_model_goes_on() -> None:
    """Several at once; the next prompt has the calls with their results."""

    @tool
    async def weather(city: str) -> str:
        await anyio.sleep(1)
        return f"sunny in {city}"

    calls = [Call(name="weather", arguments='{"city": "Paris"}'), Call(name="weather", arguments='{"city": "Rome"}')]
    mind = Mind(["Let me see. ", *calls], ["It is sunny in both."])
    async with Harness(Answer(mind, tools=[weather])) as harness:
        await harness.send(turn("What is the weather?"))
        await harness.next(ResponseEnded)
        assert harness.timeline[-1].at == pytest.approx(1)
        await harness.end()
    assert mind.said == [
        ("user", "What is the weather?"),
        ("assistant", "Let me see. "),
        ("call", "sunny in Paris"),
        ("call", "sunny in Rome"),
    ]
    assert said(harness) == ["Let me see. It is sunny in both."]
    assert len(harness.of(ToolCall)) == len(harness.of(ToolFinished)) == 2


async def test_the_application_may_answer_calls() -> None:
    """Where there are no tools; a call that nobody answers does not hold the conversation for ever."""
    mind = Mind([Call(name="theirs", call="c")], ["Thank you."], [Call(name="theirs", call="d")], ["Never mind."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("Go."))
        call = await harness.next(ToolCall)
        await harness.send(ToolResult(call=call.call, output="42"))
        await harness.next(ResponseEnded)
        assert mind.said[-1] == ("call", "42")
        await harness.send(turn("Again.", 2))
        await harness.next(ResponseEnded, within=100)
        assert mind.said[-1] == ("call", '"nobody answered"')
        await harness.session.cancel()


async def test_an_interrupt_ends_the_answer_at_once() -> None:
    """The model's stream is closed, the end is told, and what was not heard is forgotten."""
    mind = Mind(["One two three four five six. And", 2.0, " never written."], ["Yes?"])
    answer = Answer(mind)
    async with Harness(answer, Sentences(), Speak(Voice(words=True)), Spoken(), Pacer()) as harness:
        await harness.send(turn("Count."))
        await anyio.sleep(0.9)
        await harness.settle()
        harness.interrupt()
        await harness.settle()
        assert mind.left == 1
        await harness.send(turn("Wait.", 2))
        await harness.next(ResponseEnded)
        await harness.next(ResponseEnded)
        assert harness.of(ResponseEnded)[0].outcome == "interrupted"
        heard = next(frame.text for frame in harness.of(Heard) if frame.done)
        assert heard.startswith("One two")
        assert "six" not in heard
        assert mind.said == [("user", "Count."), ("assistant", heard), ("user", "Wait.")]
        await harness.session.cancel()


async def test_tools_survive_an_interrupt() -> None:
    """Their result is in the next prompt, which waits for it."""

    @tool
    async def slow() -> str:
        await anyio.sleep(2)
        return "done"

    mind = Mind([Call(name="slow")], ["So."])
    async with Harness(Answer(mind, tools=[slow])) as harness:
        await harness.send(turn("Go."))
        await harness.next(ToolCall)
        await anyio.sleep(0.5)
        harness.interrupt()
        await harness.send(turn("Well?", 2))
        await harness.next(Text)
        assert harness.timeline[-1].at == pytest.approx(2)
        assert mind.said == [("user", "Go."), ("call", "done"), ("user", "Well?")]
        await harness.session.cancel()


async def test_turns_that_come_meanwhile_are_answered_together() -> None:
    """After the present answer, once."""
    mind = Mind(["Well, ", 1.0, "yes."], ["Both."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("One."), turn("Two.", 2), turn("Three.", 3))
        await harness.end()
    assert said(harness) == ["Well, yes.", "Both."]
    assert mind.said == [("user", "One."), ("user", "Two."), ("user", "Three."), ("assistant", "Well, yes.")]


async def test_or_end_the_present_answer() -> None:
    """And both are answered at once."""
    mind = Mind(["Well, ", 10.0, "yes."], ["Both."])
    async with Harness(Answer(mind, meanwhile="interrupt")) as harness:
        await harness.send(turn("One."))
        await anyio.sleep(1)
        await harness.send(turn("Two.", 2))
        await harness.next(ResponseEnded)
        await harness.next(ResponseEnded)
        assert harness.timeline[-1].at == pytest.approx(1)
        assert [entry for entry in mind.said if entry[0] == "user"] == [("user", "One."), ("user", "Two.")]
        await harness.session.cancel()
    with pytest.raises(ValueError, match="meanwhile='ignore'"):
        Answer(mind, meanwhile="ignore")  # type: ignore[arg-type]


async def test_words_that_turn_out_to_be_others_are_answered_anew() -> None:
    """If nothing was heard of the answer; else they are kept in mind."""
    mind = Mind(["I see", 5.0], ["A table for two."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("A cable"))
        await anyio.sleep(0.5)
        await harness.send(turn("A table for two", revision=1))
        await anyio.sleep(1)
        assert [frame.outcome for frame in harness.of(ResponseEnded)] == ["interrupted", "completed"]
        assert harness.session.epoch == 1
        assert ("user", "A table for two") in mind.said
        await harness.send(turn("A table for three", revision=2))
        await anyio.sleep(1)
        assert len(harness.of(ResponseStarted)) == 2
        await harness.session.cancel()


async def test_a_model_that_fails_is_apologised_for() -> None:
    """A failure for who watches, words for who listens, and the conversation goes on."""
    mind = Mind(["I ", RuntimeError("the model is on fire")], ["Better now."])
    async with Harness(Answer(mind, apology="Sorry.")) as harness:
        await harness.send(turn("Hello."))
        ended = await harness.next(ResponseEnded)
        await harness.send(turn("Again.", 2))
        await harness.end()
    assert ended.outcome == "failed"
    assert [frame.message for frame in harness.of(Failure)] == ["Mind: the model is on fire"]
    assert said(harness) == ["I Sorry.", "Better now."]


async def test_a_model_that_only_calls_tools_is_made_to_answer() -> None:
    """After some rounds it has none."""

    @tool
    def again() -> str:
        return "again"

    mind = Mind(lambda prompt: [Call(name="again")] if prompt.tools else ["Enough."])
    async with Harness(Answer(mind, tools=[again])) as harness:
        await harness.send(turn("Go."))
        await harness.end()
    assert said(harness) == ["Enough."]
    assert len(mind.prompts) == 8


async def test_it_can_be_told_what_to_say_and_to_do() -> None:
    """Word for word; with other instructions, once or from now on; protected, if it must be."""
    mind = Mind(["Yes."])
    answer = Answer(mind, instructions="first")
    async with Harness(answer) as harness:
        await harness.send(Say(text="Welcome.", protected=True))
        await harness.next(ResponseEnded)
        await harness.send(Respond(instructions="once"))
        await harness.next(ResponseEnded)
        await harness.send(Configure(instructions="second"), Respond())
        await harness.next(ResponseEnded)
        await harness.end()
    assert said(harness) == ["Welcome.", "Yes.", "Yes."]
    assert [frame.protected for frame in harness.of(ResponseStarted)] == [True, False, False]
    assert [prompt.instructions for prompt in mind.prompts] == ["once", "second"]
    assert [entry.text for entry in answer.history] == ["Welcome.", "Yes.", "Yes."]
    assert not harness.of(Interrupt)


async def test_a_long_conversation_is_summarised_beside_it() -> None:
    """No answer waits for that, and neither does the end; the statistics show it."""

    async def summarise(entries: Sequence[Entry]) -> str:
        await anyio.sleep(5)
        return "Before."

    mind = Mind(["Yes, indeed."])
    history = History(capacity=12, summarise=summarise)
    async with Harness(Answer(mind, history=history)) as harness:
        for number in range(1, 7):
            await harness.send(turn("A question.", number))
            await harness.next(ResponseEnded)
        assert anyio.current_time() < 1
        await anyio.sleep(6)
        own = harness.statistics().processors["answer"].own
        assert isinstance(own, HistoryStatistics)
        assert own.summarised == 4
        for number in range(7, 10):
            await harness.send(turn("A question.", number))
            await harness.next(ResponseEnded)
        assert mind.said[0] == ("system", "Before.")
        before = anyio.current_time()
        await harness.end()
        assert anyio.current_time() == before
