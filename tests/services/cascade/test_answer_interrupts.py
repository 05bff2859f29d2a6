"""Answer: interrupts before, during and at the end of an answer, and of its tools."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bargein.pipeline import ResponseEnded, ResponseStarted, Text, ToolCall
from bargein.pipeline.testing import Harness
from bargein.processors import Heard, Pacer, Sentences, Spoken
from bargein.services.cascade import Answer, Prompt, Speak, ToolRequest
from bargein.services.frames import ToolFinished
from bargein.services.tools import tool

from .parts import Mind, Voice
from .turns import said, turn

pytestmark = pytest.mark.virtual


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

    mind = Mind([ToolRequest(name="slow")], ["So."])
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


async def test_a_tool_that_an_interrupt_calls_off_is_told_to_the_model() -> None:
    """It knows what became of its call, and a summary need not wait for its answer."""

    @tool(cancellable=True)
    async def slow() -> str:
        await anyio.sleep(2)
        return "done"

    mind = Mind([ToolRequest(name="slow")], ["So."])
    async with Harness(Answer(mind, tools=[slow])) as harness:
        await harness.send(turn("Go."))
        await harness.next(ToolCall)
        await anyio.sleep(0.5)
        harness.interrupt()
        await harness.send(turn("Well?", 2))
        await harness.end()
    assert mind.said == [("user", "Go."), ("call", '"called off: the user went on"'), ("user", "Well?")]


async def test_an_interrupt_between_a_call_and_its_tool_holds_up_nobody() -> None:
    """Whichever of many calls it comes at: each that was told is answered, and so is the next turn."""

    @tool
    def quick() -> str:
        return "done"

    async with Harness(answer := Answer(mind := Mind(["Yes."]), tools=[quick])) as harness:

        def pieces(prompt: Prompt) -> Iterator[ToolRequest]:
            for _ in range(40):
                yield ToolRequest(name="quick")
            harness.interrupt()

        mind.replies.insert(0, pieces)
        await harness.send(turn("Go."))
        await harness.settle()
        await harness.send(turn("Well?", 2))
        await harness.next(Text, within_seconds=1)
        await harness.end()
    assert len(harness.of(ToolCall)) == len(harness.of(ToolFinished)) > 0
    assert not any(entry.open for entry in answer.history)


async def test_an_interrupt_at_the_very_end_of_an_answer_leaves_nobody_waiting() -> None:
    """Whether it still ends the answer or comes while that is told: the next turn is answered."""
    async with Harness(Answer(mind := Mind(["Yes."]))) as harness:
        for count in range(70):  # outlets let others go first now and then

            def pieces(prompt: Prompt, count: int = count) -> Iterator[str]:
                yield from ["a "] * count
                harness.interrupt()

            mind.replies.insert(0, pieces)
            await harness.send(turn("Go.", 2 * count + 1))
            await harness.settle()
            before = len(mind.prompts)
            await harness.send(turn("Well?", 2 * count + 2))
            await harness.settle()
            assert len(mind.prompts) == before + 1
        await harness.end()
    assert len(harness.of(ResponseStarted)) == len(harness.of(ResponseEnded))


@pytest.mark.parametrize("steps", range(8))
async def test_an_interrupt_before_an_answer_has_begun_leaves_nobody_waiting(steps: int) -> None:
    """At whatever step of the scheduler it comes: the next turn is answered, and the end is reached."""
    mind = Mind(["Yes."])
    async with Harness(Answer(mind)) as harness:
        await harness.send(turn("One."))
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        harness.interrupt()
        await harness.settle()
        await harness.send(turn("Two.", 2))
        await harness.settle()
        assert mind.said[-1] == ("user", "Two.")
        with anyio.fail_after(5):
            await harness.end()
    assert len(harness.of(ResponseStarted)) == len(harness.of(ResponseEnded))
    assert said(harness)[-1] == "Yes."
