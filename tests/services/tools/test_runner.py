"""Running tools: what the model gets, whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Frame, ToolCall, ToolResult
from bargein.pipeline.lowlevel import on_trio
from bargein.pipeline.testing import run_virtual
from bargein.services.frames import ToolFinished, ToolProgress, ToolStarted
from bargein.services.tools import Toolbox, ToolContext, ToolError, ToolRunner, tool

from .test_tool import JSON


class Told(list[Frame]):
    """What a runner emitted."""

    async def emit(self, frame: Frame) -> None:
        await anyio.lowlevel.checkpoint()
        self.append(frame)

    @property
    def finished(self) -> ToolFinished:
        assert isinstance(self[-1], ToolFinished)
        return self[-1]

    @property
    def progress(self) -> list[tuple[str, float | None]]:
        return [(frame.message, frame.share) for frame in self if isinstance(frame, ToolProgress)]


def call(name: str, id: str = "c", **arguments: Any) -> ToolCall:
    return ToolCall(call_id=id, name=name, arguments=json.dumps(arguments))


async def answer(function: Any, told: Told | None = None, **arguments: Any) -> ToolResult | None:
    """Run one tool once."""
    box = Toolbox([function])
    return await ToolRunner(box).run(call(box.names[0], **arguments), (told if told is not None else Told()).emit)


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
