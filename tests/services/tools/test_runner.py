"""Running tools: calls, threads, progress, ids and what the model gets."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from bargein.pipeline import Frame, ToolCall, ToolResult
from bargein.services.frames import ToolFinished, ToolStarted
from bargein.services.tools import ToolContext, ToolRunner, tool

from .calls import Told, answer, call


async def test_a_call_is_run() -> None:
    """It starts, it is finished, and the result is the model's."""

    async def weather(city: str) -> dict[str, str]:
        return {city: "rain"}

    told = Told()
    assert await answer(weather, told, city="Riga") == ToolResult(call_id="c", output='{"Riga":"rain"}')
    output, seconds = told.finished.output, told.finished.seconds
    assert told == [
        ToolStarted(call_id="c", name="weather", arguments='{"city": "Riga"}'),
        ToolFinished(call_id="c", name="weather", output=output, seconds=seconds),
    ]
    assert output == '{"Riga":"rain"}'


async def test_plain_functions_run_where_they_are() -> None:
    """In the event loop's thread; what they return may have to be awaited."""

    def plain() -> bool:
        return threading.current_thread() is threading.main_thread()

    async def later() -> str:
        return "later"

    assert await answer(plain) == ToolResult(call_id="c", output="true")
    assert await answer(tool(lambda: later(), name="delayed")) == ToolResult(call_id="c", output="later")


async def test_blocking_ones_run_in_a_thread() -> None:
    """They may report from there, in order, and the loop goes on meanwhile."""
    go = threading.Event()

    @tool(blocking=True)
    def heavy(n: int, context: ToolContext) -> str:
        go.wait(10)
        for i in range(n):
            context.report(f"{i}", i / n)
        return threading.current_thread().name

    told = Told()
    async with anyio.create_task_group() as group:
        group.start_soon(answer_into, told, heavy)
        while not told:
            await anyio.lowlevel.checkpoint()
        go.set()
    assert told.progress == [("0", 0.0), ("1", 1 / 3), ("2", 2 / 3)]
    assert told.finished.output == "bargein tool heavy"


async def answer_into(told: Told, function: Any) -> None:
    await answer(function, told, n=3)


async def test_progress_comes_as_it_is_made() -> None:
    """Awaited or not, in order; after the end of the call it goes nowhere."""
    kept: list[ToolContext] = []

    async def dig(context: ToolContext) -> str:
        kept.append(context)
        context.report("first")
        await context.progress("half", share=0.5)
        context.report(share=sum([0.1] * 10) + 1e-9)
        return f"{context.name} {context.call_id}"

    told = Told()
    result = await answer(dig, told)
    assert result == ToolResult(call_id="c", output="dig c")
    assert told.progress == [("first", None), ("half", 0.5), ("", 1.0)]
    await kept[0].progress("late")
    assert len(told.progress) == 3
    with pytest.raises(ValueError, match=r"progress\(share=50\): expected how much is done, from 0 to 1"):
        kept[0].report(share=50)


async def test_more_reports_than_can_be_sent_are_dropped_and_counted() -> None:
    """The newest are kept."""
    kept: list[ToolContext] = []

    def emit_limit_error(context: ToolContext) -> None:
        kept.append(context)
        for i in range(300):
            context.report(str(i))

    told = Told()
    await answer(emit_limit_error, told)
    assert [message for message, _ in told.progress] == [str(i) for i in range(44, 300)]
    assert kept[0].dropped_reports == 44


async def test_a_context_by_hand() -> None:
    """A function can be called with one in a test of its own."""
    told = Told()
    await ToolContext(emit=told.emit).progress("half")
    await ToolContext().progress("nobody")
    assert told.progress == [("half", None)]


@pytest.mark.virtual
async def test_so_many_run_at_once() -> None:
    """The others wait, and their timeouts with them."""
    at_once: list[int] = []

    @tool(timeout_seconds=1.5)
    async def work() -> None:
        at_once.append(at_once[-1] + 1 if at_once else 1)
        await anyio.sleep(1)
        at_once.append(at_once[-1] - 1)

    runner = ToolRunner([work], concurrency=2)
    told = Told()
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for i in range(6):
            group.start_soon(runner.run, call("work", str(i)), told.emit)
    assert anyio.current_time() - began == pytest.approx(3)
    assert max(at_once) == 2
    assert not [frame for frame in told if isinstance(frame, ToolFinished) and frame.error]
    with pytest.raises(ValueError, match=r"ToolRunner\(concurrency=0\)"):
        ToolRunner(concurrency=0)


@pytest.mark.virtual
async def test_the_same_call_is_run_once() -> None:
    """Asked again, while it runs or later, it gives the same answer, and tells nothing."""
    count = 0

    async def once(x: int = 0) -> int:
        nonlocal count
        count += 1
        await anyio.sleep(1)
        return count

    runner, told = ToolRunner([once]), Told()
    results: list[ToolResult | None] = []

    async def ask() -> None:
        results.append(await runner.run(call("once"), told.emit))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
    await ask()
    assert results == [ToolResult(call_id="c", output="1")] * 3
    assert len(told) == 2
    assert await runner.run(call("once", x=1), told.emit) == ToolResult(call_id="c", output="2")
    for expected in ("3", "4"):  # without an id there is nothing to go by
        assert await runner.run(call("once", ""), told.emit) == ToolResult(call_id="", output=expected)


async def test_only_so_many_answers_are_remembered() -> None:
    """The oldest is forgotten, and its call would run again."""
    runs: list[int] = []
    runner = ToolRunner([tool(runs.append, name="add", parameters={})])
    for i in range(257):
        await runner.run(call("add", str(i)), Told().emit)
    assert runner.knows(call("add", "1"))
    assert not runner.knows(call("add", "0"))


async def test_an_id_that_another_response_uses_again_is_another_call() -> None:
    """Some servers count their calls again in each response."""
    count = 0

    def clock() -> str:
        """Tell the time."""
        nonlocal count
        count += 1
        return f"tick {count}"

    async def emit(frame: Frame) -> None:
        pass

    runner = ToolRunner([clock])
    outputs = []
    for response_id in ("r1", "r1", "r2"):
        result = await runner.run(
            ToolCall(call_id="call_0", name="clock", arguments="{}", response_id=response_id), emit
        )
        outputs.append(result and result.output)
    assert outputs == ["tick 1", "tick 1", "tick 2"]
