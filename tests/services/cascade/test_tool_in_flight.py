"""A slow tool runs, and the user goes on: the next question does not wait for it, and its result is not lost."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import SpeechStarted, SpeechStopped, Text, ToolCall, Transcript
from bargein.pipeline.testing import Harness
from bargein.processors import Turn
from bargein.services.cascade import Answer, ToolRequest
from bargein.services.tools import tool

from .parts import Mind

pytestmark = pytest.mark.virtual


@tool
async def report() -> str:
    """Write a long report."""
    await anyio.sleep(20)
    return "all is well"


def text(harness: Harness) -> str:
    return "".join(frame.text for frame in harness.of(Text))


async def ask_for_report(harness: Harness) -> float:
    """Ask for the report, and interrupt three seconds later. Returns the time of the interrupt."""
    await harness.send(Turn(text="Write the report.", turn=1))
    await harness.next(ToolCall)
    await anyio.sleep(3)
    harness.interrupt()
    return anyio.current_time()


async def test_another_question_is_answered_meanwhile() -> None:
    """The model sees that the tool is running; when it has finished, it is asked again."""
    mind = Mind([ToolRequest(name="report")], ["My name is Bob."], ["The report says all is well."])
    async with Harness(answer := Answer(mind, tools=[report], instructions="Be brief.")) as harness:
        since = await ask_for_report(harness)
        await harness.send(Turn(text="What is your name?", turn=2))
        await harness.next(Text)
        assert anyio.current_time() - since <= 3
        assert mind.said == [
            ("user", "Write the report."),
            ("call", '"still running; the result will come later"'),
            ("user", "What is your name?"),
        ]
        await anyio.sleep(20)
        assert ("call", "all is well") in mind.said
        assert mind.prompts[-1].instructions.startswith("Be brief.\n\nA tool has finished")
        assert text(harness) == "My name is Bob.The report says all is well."
        assert [entry.output for entry in answer.history if entry.role == "call"] == ["all is well"]


async def test_a_tool_that_is_quick_enough_is_waited_for() -> None:
    @tool
    async def quick() -> str:
        """Look something up."""
        await anyio.sleep(4)
        return "found"

    mind = Mind([ToolRequest(name="quick")], ["It is found."])
    async with Harness(Answer(mind, tools=[quick])) as harness:
        await ask_for_report(harness)
        await harness.send(Turn(text="And?", turn=2))
        await anyio.sleep(10)
        assert mind.said == [("user", "Write the report."), ("call", "found"), ("user", "And?")]
        assert len(mind.prompts) == 2


async def test_a_noise_does_not_replace_the_question() -> None:
    """Nothing else was asked, so the answer waits for the tool."""
    mind = Mind([ToolRequest(name="report")], ["All is well."])
    async with Harness(Answer(mind, tools=[report], wait_reply="")) as harness:
        await harness.send(SpeechStarted(item_id="noise"))
        await ask_for_report(harness)
        await harness.send(SpeechStopped(item_id="noise"), Transcript(text="", item_id="noise", final=True))
        await anyio.sleep(30)
        assert mind.said == [("user", "Write the report."), ("call", "all is well")]
        assert text(harness) == "All is well."


async def test_a_newer_question_is_answered_with_the_result() -> None:
    """It is not announced on its own while a turn waits for its answer."""
    mind = Mind([ToolRequest(name="report")], ["One.", 30.0], ["Both."])
    async with Harness(Answer(mind, tools=[report], wait_reply="")) as harness:
        await ask_for_report(harness)
        await harness.send(Turn(text="First?", turn=2))
        await anyio.sleep(5)
        await harness.send(Turn(text="Second?", turn=3))
        await anyio.sleep(60)
        assert text(harness) == "One.Both."
        assert ("call", "all is well") in mind.said
