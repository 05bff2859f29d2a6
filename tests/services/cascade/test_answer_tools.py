"""Answer: tools that run during an answer, and calls that the application answers."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Failure, ResponseEnded, Text, ToolCall, ToolResult
from bargein.pipeline.testing import Harness
from bargein.services.cascade import Answer, ToolRequest
from bargein.services.frames import Configure, ToolFinished
from bargein.services.tools import tool

from .parts import Mind
from .turns import said, turn

pytestmark = pytest.mark.virtual


async def test_tools_are_run_and_the_model_goes_on() -> None:
    """Several at once; the next prompt has the calls with their results."""

    @tool
    async def weather(city: str) -> str:
        await anyio.sleep(1)
        return f"sunny in {city}"

    calls = [
        ToolRequest(name="weather", arguments='{"city": "Paris"}'),
        ToolRequest(name="weather", arguments='{"city": "Rome"}'),
    ]
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
    """Where there are no tools: in a response of its own, which another one follows when all are answered."""
    calls = [ToolRequest(name="theirs", call_id="c"), ToolRequest(name="theirs", call_id="d")]
    mind = Mind(["Let me ask. ", *calls], ["Thank you."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("Go."))
        await harness.next(ResponseEnded)
        await harness.send(ToolResult(call_id="d", output="7"))
        await anyio.sleep(1)
        assert len(mind.prompts) == 1
        await harness.send(ToolResult(call_id="c", output="42"), ToolResult(call_id="who?", output=""))
        await harness.next(ResponseEnded)
        assert mind.said[1:] == [("assistant", "Let me ask. "), ("call", "42"), ("call", "7")]
        assert said(harness) == ["Let me ask. ", "Thank you."]
        assert not any(frame.handled for frame in harness.of(ToolCall))
        await harness.session.cancel()


async def test_a_call_that_nobody_answers_holds_up_nobody() -> None:
    """The model goes on after a minute, and a user at once; what comes late is kept."""
    mind = Mind([ToolRequest(name="theirs")], ["Never mind."], [ToolRequest(name="theirs")], ["Yes?"], ["Now I know."])
    async with Harness(Answer(mind, wait_reply="")) as harness:
        await harness.send(turn("Go."))
        await harness.next(Text, within_seconds=100)
        assert harness.timeline[-1].at == pytest.approx(60)
        assert mind.said[-1] == ("call", '"nobody answered"')
        await harness.send(turn("Again.", 2))
        call = await harness.next(ToolCall)
        await anyio.sleep(1)
        await harness.send(turn("Hello?", 3))
        await harness.next(Text)
        assert harness.timeline[-1].at == pytest.approx(61)
        await harness.send(ToolResult(call_id=call.call_id, output="late"))
        await anyio.sleep(100)
        assert len(mind.prompts) == 4
        await harness.send(turn("So?", 4))
        await harness.end()
        assert ("call", "late") in mind.said
        assert said(harness)[-2:] == ["Yes?", "Now I know."]


async def test_at_the_end_nobody_answers_calls_any_more() -> None:
    """So they are not waited for."""
    mind = Mind([ToolRequest(name="theirs")], ["Never."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("Go."))
        await harness.next(ResponseEnded)
        await harness.end()
        assert anyio.current_time() < 1
    assert len(mind.prompts) == 1


async def test_the_application_may_have_tools_beside_ours() -> None:
    """Of which it gives the schemas, and which have precedence; ours are run within the response, and marked so."""

    @tool
    def here(x: int) -> str:
        return "from here"

    @tool
    def both() -> str:
        return "never"

    mind = Mind(
        [ToolRequest(name="here", arguments='{"x": 1}')],
        [ToolRequest(name="there"), ToolRequest(name="both")],
        ["Done."],
    )
    theirs = {"type": "function", "name": "there"}, {"name": "both", "description": "Both.", "parameters": {"a": 1}}
    async with Harness(Answer(mind, tools=[here, both])) as harness:
        await harness.send(Configure(schemas=theirs), turn("Go."))
        await harness.next(ResponseEnded)
        assert [(frame.name, frame.handled) for frame in harness.of(ToolCall)] == [
            ("here", True), ("there", False), ("both", False),
        ]  # fmt: skip
        assert [each["name"] for each in mind.prompts[0].tools] == ["here", "there", "both"]
        assert mind.prompts[0].tools[1]["parameters"] == {"type": "object", "properties": {}}
        for call in harness.of(ToolCall)[1:]:
            await harness.send(ToolResult(call_id=call.call_id, output="from there"))
        await harness.next(ResponseEnded)
        assert [each[1] for each in mind.said[1:]] == ["from here", "from there", "from there"]
        await harness.send(Configure(schemas=()), turn("And now?", 2))
        await harness.next(ResponseEnded)
        assert [each["name"] for each in mind.prompts[-1].tools] == ["here", "both"]
        await harness.session.cancel()


async def test_a_call_that_is_left_behind_does_not_stay_open() -> None:
    """The application has not answered it a minute after, whoever went on meanwhile."""
    mind = Mind([ToolRequest(name="theirs")], ["Yes?"], ["Well."])
    async with Harness(answer := Answer(mind)) as harness:
        await harness.send(turn("Go."))
        call = await harness.next(ToolCall)
        await harness.send(turn("Hello?", 2))
        await anyio.sleep(61)
        assert [entry.output for entry in answer.history if entry.role == "call"] == ['"nobody answered"']
        await harness.send(ToolResult(call_id=call.call_id, output="late"), turn("So?", 3))
        await harness.end()
    assert ("call", "late") in mind.said
    assert said(harness) == ["Yes?", "Well."]


async def test_a_model_may_use_the_same_id_again() -> None:
    """There are servers that count from nought in every answer: each call is run, and has its own result."""

    @tool
    def double(x: int) -> int:
        return 2 * x

    calls = [[ToolRequest(name="double", arguments=f'{{"x": {x}}}', call_id="call_0")] for x in (1, 2, 2)]
    mind = Mind(calls[0], calls[1], calls[2], ["Done."])
    async with Harness(Answer(mind, tools=[double])) as harness:
        await harness.send(turn("Go."))
        await harness.end()
    assert mind.said == [("user", "Go."), ("call", "2"), ("call", "4"), ("call", "4")]
    assert len({frame.call_id for frame in harness.of(ToolFinished)}) == 3


async def test_a_model_that_only_calls_tools_is_made_to_answer() -> None:
    """After some rounds it has none."""

    @tool
    def again() -> str:
        return "again"

    mind = Mind(lambda prompt: [ToolRequest(name="again")] if prompt.tools else ["Enough."])
    async with Harness(Answer(mind, tools=[again])) as harness:
        await harness.send(turn("Go."))
        await harness.end()
    assert said(harness) == ["Enough."]
    assert len(mind.prompts) == 8


async def test_and_where_it_cannot_even_then_that_is_told() -> None:
    """As any other failure of a model."""

    @tool
    def again() -> str:
        return "again"

    async with Harness(Answer(Mind([ToolRequest(name="again")]), tools=[again], error_reply="Sorry.")) as harness:
        await harness.send(turn("Go."))
        await harness.end()
    assert said(harness) == ["Sorry."]
    assert [frame.message for frame in harness.of(Failure)] == ["Mind: it has called tools 8 times, and not answered"]
