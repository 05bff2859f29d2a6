"""Running tools: timeouts, cancelled calls and interrupts."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from bargein.pipeline import ToolResult
from bargein.pipeline.lowlevel import on_trio
from bargein.services.frames import ToolFinished
from bargein.services.tools import ToolContext, ToolRunner, tool

from .calls import Told, answer, call


@pytest.mark.virtual
async def test_a_tool_that_takes_too_long_is_stopped() -> None:
    """The model is told so, after exactly that time."""

    @tool(timeout_seconds=2)
    async def slow() -> None:
        await anyio.sleep(10)

    told = Told()
    result = await answer(slow, told)
    assert result == ToolResult(call_id="c", output="slow did not answer within 2 s and was stopped", error=True)
    assert told.finished.seconds == pytest.approx(2)


@pytest.mark.real
async def test_a_thread_that_takes_too_long_is_left_behind() -> None:
    """It can see that nobody waits; what it reports then goes nowhere."""
    seen, go = threading.Event(), threading.Event()

    @tool(timeout_seconds=0.01, blocking=True)
    def slow(context: ToolContext) -> None:
        go.wait(10)
        context.report("late")
        if context.cancelled:
            seen.set()

    told = Told()
    result = await answer(slow, told)
    go.set()
    assert result == ToolResult(call_id="c", output="slow did not answer within 0.01 s and was stopped", error=True)
    await anyio.to_thread.run_sync(seen.wait, 10)
    assert seen.is_set()
    assert told.progress == []


@pytest.mark.real
async def test_threads_left_behind_are_bounded() -> None:
    """Further calls are refused until some return."""
    go = threading.Event()

    @tool(timeout_seconds=0.001, blocking=True)
    def slow() -> None:
        go.wait(10)

    runner = ToolRunner([slow], concurrency=1)
    try:
        results = [await runner.run(call("slow", str(i)), Told().emit) for i in range(34)]
    finally:
        go.set()
    said = [result.output for result in results if result is not None]
    assert said[:33] == ["slow did not answer within 0.001 s and was stopped"] * 33
    assert said[33] == "slow cannot run now: 32 earlier calls have not returned yet"


@pytest.mark.virtual
async def test_a_tool_that_swallows_its_cancellation_is_let_go() -> None:
    """A timeout is a timeout."""

    @tool(timeout_seconds=1)
    async def stubborn() -> None:
        while True:
            try:
                await anyio.sleep(10)
            except BaseException as error:
                if isinstance(error, GeneratorExit):
                    raise

    result = await answer(stubborn)
    assert result == ToolResult(call_id="c", output="stubborn did not answer within 1 s and was stopped", error=True)


async def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    """An asyncio task that somebody cancelled, awaited; trio knows no such thing."""
    if on_trio():
        return

    async def wait() -> None:
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task

    result = await answer(wait)
    assert result == ToolResult(call_id="c", output="wait did not work", error=True)


async def test_one_that_somebody_asked_for_passes() -> None:
    """The task itself was cancelled, by asyncio's own means."""
    if on_trio():
        return
    task = asyncio.ensure_future(answer(tool(anyio.sleep_forever, name="wait")))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.virtual
async def test_a_call_is_called_off() -> None:
    """Running or waiting for its turn, it is never answered, not even when asked again."""
    began: list[str] = []

    async def work(who: str) -> None:
        began.append(who)
        await anyio.sleep(10)

    runner, told = ToolRunner([work], concurrency=1), Told()
    results: list[ToolResult | None] = []

    async def ask(name: str) -> None:
        results.append(await runner.run(call("work", name, who=name), told.emit))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "a")
        await anyio.sleep(1)
        group.start_soon(ask, "b")
        await anyio.sleep(1)
        assert runner.running == ("a", "b")
        assert runner.cancel("b")
        await anyio.sleep(1)
        assert runner.cancel("a")
        assert not runner.cancel("c")
    await ask("a")
    assert (results, began, runner.running) == ([None] * 3, ["a"], ())
    ended = [(frame.call_id, frame.cancelled, frame.error) for frame in told if isinstance(frame, ToolFinished)]
    assert ended == [("b", True, False), ("a", True, False)]


@pytest.mark.virtual
async def test_an_interrupt_calls_off_what_says_so() -> None:
    """The others go on, and can see it."""

    async def order(context: ToolContext) -> bool:
        await anyio.sleep(2)
        return context.interrupted

    @tool(cancellable=True)
    async def search() -> None:
        await anyio.sleep(2)

    runner, told = ToolRunner([order, search]), Told()
    results: list[ToolResult | None] = []

    async def ask(name: str) -> None:
        results.append(await runner.run(call(name, name), told.emit))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "order")
        group.start_soon(ask, "search")
        await anyio.sleep(1)
        assert runner.interrupt() == ("search",)
    assert results == [None, ToolResult(call_id="order", output="true")]


async def test_what_is_called_off_before_it_runs_never_runs() -> None:
    """Not even a plain function, which would not notice."""
    runs: list[int] = []
    runner = ToolRunner([tool(runs.append, name="add", parameters={}, cancellable=True)])
    told = Told()
    begun = runner.begin(call("add"), told.emit)
    assert runner.interrupt() == ("c",)
    assert await runner.finish(begun) is None
    assert runs == []
    assert told.finished.cancelled


@pytest.mark.virtual
async def test_whoever_is_cancelled_leaves_nothing_behind() -> None:
    """The call may be run again."""

    async def work() -> None:
        await anyio.sleep(10)

    runner, told = ToolRunner([work]), Told()
    with anyio.move_on_after(1):
        await runner.run(call("work"), told.emit)
    assert runner.running == ()
    assert not runner.knows(call("work"))
    assert await runner.run(call("work"), told.emit) == ToolResult(call_id="c", output="null")
