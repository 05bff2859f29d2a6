"""Tools in a graph: below the model, across interrupts, to the end."""

from __future__ import annotations

import anyio
import pytest

from bargein.pipeline import Frame, Processor, ToolCall, ToolResult
from bargein.pipeline.testing import Harness, check_processor
from bargein.services.frames import Configure, ToolFinished, ToolProgress, ToolStarted
from bargein.services.tools import Toolbox, ToolContext, ToolRunner, Tools, tool

pytestmark = pytest.mark.virtual


async def order(what: str, context: ToolContext) -> str:
    """Order something."""
    await anyio.sleep(1)
    await context.progress("paid", 0.5)
    await anyio.sleep(1)
    return f"{what} is coming"


@tool(cancellable=True)
async def search(what: str = "") -> str:
    """Search."""
    await anyio.sleep(2)
    return "found"


def call(name: str, id: str = "c", arguments: str = '{"what": "tea"}') -> ToolCall:
    return ToolCall(call_id=id, name=name, arguments=arguments)


async def test_a_call_is_answered_upstream() -> None:
    """It passes; its story goes down, its result goes up."""
    async with Harness(Tools([order])) as harness:
        await harness.send(call("order"))
        await harness.settle()
        await anyio.sleep(3)
    assert [(round(at), type(frame)) for at, frame in harness.timeline] == [
        (0, ToolCall),
        (0, ToolStarted),
        (1, ToolProgress),
        (2, ToolFinished),
        (2, ToolResult),
    ]
    assert harness.of(ToolResult) == [ToolResult(call_id="c", output="tea is coming")]


async def test_calls_run_side_by_side() -> None:
    """One that is slow holds up no other."""
    async with Harness(Tools([order, search])) as harness:
        await harness.send(call("order", "a"), call("search", "b"), call("nothing", "c"))
        await anyio.sleep(3)
    answered = [frame.call_id for frame in harness.of(ToolResult)]
    assert (answered[0], sorted(answered)) == ("c", ["a", "b", "c"])


async def test_an_interrupt_leaves_what_was_begun() -> None:
    """Only what is cancellable is called off; the others are answered in a later epoch."""
    async with Harness(Tools([order, search])) as harness:
        await harness.send(call("order", "a"), call("search", "b"))
        await harness.settle()
        await anyio.sleep(1.5)
        harness.interrupt()
        await anyio.sleep(3)
        assert harness.session.epoch == 1
    assert [frame.call_id for frame in harness.of(ToolResult)] == ["a"]
    ended = {frame.call_id: frame.cancelled for frame in harness.of(ToolFinished)}
    assert ended == {"a": False, "b": True}


async def test_the_end_waits_for_the_running() -> None:
    """Their results still go up."""
    async with Harness(Tools([order])) as harness:
        await harness.send(call("order"))
        await harness.end()
    assert harness.of(ToolResult) == [ToolResult(call_id="c", output="tea is coming")]


async def test_a_session_that_is_cancelled_ends_at_once() -> None:
    """Whatever runs."""
    runner = ToolRunner([order])
    async with Harness(Tools(runner)) as harness:
        await harness.send(call("order"))
        await harness.settle()
        began = anyio.current_time()
        await harness.session.cancel()
        assert anyio.current_time() == began
    assert runner.running == ()


async def test_other_tools_are_refused_or_left_alone() -> None:
    """As it is told."""
    async with Harness(Tools([order])) as harness:
        await harness.send(call("fly"))
        await harness.end()
    assert [(frame.output, frame.error) for frame in harness.of(ToolResult)] == [
        ("there is no tool 'fly'; the tools are: order", True)
    ]
    async with Harness(Tools([order], others="pass"), Tools(Toolbox([search]), others="pass")) as harness:
        await harness.send(call("fly", "a"), call("search", "b"), call("order", "c"))
        await harness.end()
    assert sorted(frame.call_id for frame in harness.of(ToolResult)) == ["b", "c"]
    assert [frame.call_id for frame in harness.of(ToolCall)] == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"Tools\(others='drop'\): expected 'refuse' or 'pass'"):
        Tools(others="drop")  # type: ignore[arg-type]


async def test_a_call_that_comes_again_is_not_run_again() -> None:
    """While it runs it is answered once; later it is answered again, from memory."""
    async with Harness(Tools([order])) as harness:
        await harness.send(call("order"), call("order"))
        await anyio.sleep(3)
        assert len(harness.of(ToolResult)) == 1
        await harness.send(call("order"))
        await harness.end()
    assert harness.of(ToolResult) == [ToolResult(call_id="c", output="tea is coming")] * 2
    assert len(harness.of(ToolStarted)) == 1


async def test_new_tools_by_configuration() -> None:
    """They replace the old ones, and the frame passes; None changes nothing."""
    tools = Tools([order])
    async with Harness(tools) as harness:
        await harness.send(Configure(voice="low"), Configure(tools=(search,)), call("search"))
        await harness.end()
    assert tools.runner.toolbox.names == ("search",)
    assert [frame.output for frame in harness.of(ToolResult)] == ["found"]
    assert len(harness.of(Configure)) == 2


async def test_a_processor_below_that_fails_fails_the_session_as_itself() -> None:
    """The exception is not inside a group."""

    class Fragile(Processor):
        def process(self, frame: ToolProgress) -> None:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        async with Harness(Tools([order]), Fragile()) as harness:
            await harness.send(call("order"))
            await harness.end()


async def test_conformance() -> None:
    """It passes the suite. Among calls that run at once there is no order to compare, and its memory is meant to be."""

    def make() -> Processor:
        return Tools([tool(lambda what: what, name="echo", parameters={})])

    frames: list[Frame] = [Configure(voice="low"), Configure(), call("echo")]
    await check_processor(make, frames, resets=False)
    await check_processor(lambda: Tools([order]), [Configure(), call("order")], resets=False)
