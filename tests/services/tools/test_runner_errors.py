"""Running tools: what the model gets when a tool or its arguments are wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Frame, ToolCall, ToolResult
from bargein.pipeline.testing import run_virtual
from bargein.services.frames import ToolProgress
from bargein.services.tools import ToolContext, ToolError, ToolRunner, tool

from .calls import Told, answer, call
from .test_tool import JSON


def explode() -> None:
    raise KeyError("x")


def grouped() -> None:
    raise ExceptionGroup("several", [ExceptionGroup("one", [OSError("no route")])])


def silent() -> None:
    raise ValueError


def speechless() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise OddError


def stopping() -> None:
    raise StopIteration


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def thing() -> object:
    return object()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (explode, "explode did not work"),
        (grouped, "grouped did not work"),
        (silent, "silent did not work"),
        (speechless, "speechless did not work"),
        (stopping, "stopping did not work"),
        (endless, "endless ran, but its answer cannot be read"),
        (thing, "thing ran, but its answer cannot be read"),
    ],
)
async def test_what_goes_wrong_is_said_to_the_model(
    function: Callable[[], Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """That something went wrong. What the exception says is for the log: the model may read its text to the user."""
    result = await answer(function)
    assert result is not None
    assert result.error
    assert result.output == said
    assert caplog.records[0].exc_info


async def test_the_same_in_a_thread() -> None:
    """Exceptions come over."""
    result = await answer(tool(explode, blocking=True))
    assert result == ToolResult(call_id="c", output="explode did not work", error=True)


async def test_a_tool_may_word_its_own_errors(caplog: pytest.LogCaptureFixture) -> None:
    """Such are said as they stand, and not logged."""

    def book() -> None:
        raise ToolError("No table is free; ask for another day.")

    told = Told()
    assert await answer(book, told) == ToolResult(
        call_id="c", output="No table is free; ask for another day.", error=True
    )
    assert told.finished.error
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_wrong_arguments_and_unknown_tools_are_answered() -> None:
    """With what would be right."""
    result = await answer(tool(lambda: 1, name="one"), x=1)
    assert result == ToolResult(
        call_id="c", output="one: contains unknown field `x`. It takes no arguments: {}", error=True
    )
    told = Told()
    result = await ToolRunner([explode, silent]).run(call("explod"), told.emit)
    assert result == ToolResult(
        call_id="c", output="there is no tool 'explod'; the tools are: explode, silent", error=True
    )
    assert (len(told), told.finished.error) == (2, True)
    nothing = await ToolRunner().run(call("x"), told.emit)
    assert nothing is not None
    assert nothing.output == "there is no tool 'x'; there are no tools"


@given(st.text() | JSON.map(json.dumps), st.sampled_from(["take", "other", "\ud800"]))
def test_nothing_that_a_model_writes_raises(arguments: str, name: str) -> None:
    """Whatever the JSON, there is an answer, and it can be encoded."""

    def take(x: int = 0, y: dict[str, Any] | list[Any] | None = None) -> object:
        return {"x": x, "y": y}

    async def ask() -> ToolResult | None:
        return await ToolRunner([take]).run(ToolCall(call_id="c", name=name, arguments=arguments), Told().emit)

    result = run_virtual(ask)
    assert result is not None
    result.output.encode()


async def test_what_emit_raises_is_raised() -> None:
    """As itself, wherever it was."""

    class BrokenError(Exception):
        pass

    async def emit(frame: Frame) -> None:
        if isinstance(frame, ToolProgress):
            raise BrokenError

    async def dig(context: ToolContext) -> None:
        context.report("half")
        await anyio.sleep(10)

    runner = ToolRunner([dig])
    with pytest.raises(BrokenError):
        await runner.run(call("dig"), emit)
    assert runner.running == ()
