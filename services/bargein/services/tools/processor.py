"""The tools as one step of a graph, below the model that calls them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Literal

import anyio

from bargein.pipeline import Inbox, Interrupt, Outlet, Processor, ToolCall, ToolResult
from bargein.services.frames import Configure, ToolFinished, ToolProgress, ToolStarted

from .runner import ToolRunner
from .tool import Tool, Toolbox

__all__ = ["Tools"]


class Tools(Processor):
    """Answer a model's `ToolCall`s, but for those that it answers itself (`handled`). Stands below the model.

    The calls pass, and so does `Configure`, whose tools replace those that were there. `ToolResult` goes up to the
    model; `ToolStarted`, `ToolProgress` and `ToolFinished` go down, for whoever shows what happens.

    An interrupt calls off the tools that are `cancellable`, and leaves the others to finish: what was begun is
    answered in whatever epoch. At the end of the stream the tools that run are waited for; each has its timeout.

    `others` says what becomes of the calls of tools that are not here: `"refuse"` answers with an error that names
    those that are, `"pass"` leaves them to the application or to other `Tools` below. Where several stand in a row,
    all must let pass.
    """

    def __init__(
        self,
        tools: ToolRunner | Toolbox | Iterable[Tool[..., Any] | Callable[..., Any]] = (),
        *,
        concurrency: int = 8,
        others: Literal["refuse", "pass"] = "refuse",
    ) -> None:
        if others not in ("refuse", "pass"):
            raise ValueError(f"Tools(others={others!r}): expected 'refuse' or 'pass'")
        self.runner = tools if isinstance(tools, ToolRunner) else ToolRunner(tools, concurrency=concurrency)
        """What runs them."""
        self.others: Literal["refuse", "pass"] = others
        """What becomes of calls of other tools."""

    async def run(
        self,
        inbox: Inbox[ToolCall | Configure | Interrupt],
        out: Outlet[ToolCall | Configure | ToolResult | ToolStarted | ToolProgress | ToolFinished],
    ) -> None:
        """Listen until the end; then wait for what runs."""
        runner = self.runner
        async with anyio.create_task_group() as group:
            async for frame in inbox:
                if isinstance(frame, Interrupt):
                    runner.interrupt()
                    continue
                await out.send(frame)
                if isinstance(frame, Configure):
                    if frame.tools is not None:
                        runner.toolbox = Toolbox(frame.tools)
                elif not frame.handled and (frame.name in runner.toolbox or self.others == "refuse"):
                    self._take(frame, out, group)

    def _take(self, call: ToolCall, out: Outlet[Any], group: anyio.abc.TaskGroup) -> None:
        """Begin it at once, so that an interrupt that comes before its task starts concerns it."""
        runner = self.runner
        if not runner.knows(call):
            group.start_soon(self._give, partial(runner.finish, runner.begin(call, out.send)), out)
        elif call.call_id not in runner.running:  # asked again, for instance after a new connection
            group.start_soon(self._give, partial(runner.run, call, out.send), out)

    async def _give(self, run: Callable[[], Awaitable[ToolResult | None]], out: Outlet[Any]) -> None:
        result = await run()
        if result is not None:
            await out.send(result)
