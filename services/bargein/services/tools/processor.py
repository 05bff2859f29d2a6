"""`Tools`: a processor that runs the tools of a model above it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Literal

import anyio

from bargein.pipeline import Inbox, Interrupt, Outlet, Processor, ToolCall, ToolResult
from bargein.pipeline.lowlevel import check_options
from bargein.services.frames import Configure, ToolFinished, ToolProgress, ToolStarted

from .runner import ToolRunner
from .tool import Toolbox, ToolLike

__all__ = ["Tools"]


class Tools(Processor):
    """Runs the tools that a model calls. Put it below the model.

    It answers each `ToolCall` that the model does not answer itself (`handled`). `ToolResult` goes up to the model.
    `ToolStarted`, `ToolProgress` and `ToolFinished` go down, to processors that show them. The calls are passed on, and
    so is `Configure`, whose tools replace the ones here.

    An interrupt cancels the tools that are `cancellable`. The others finish, and their results reach the model. At the
    end of the stream the running tools are waited for; each has a timeout.

    Args:
        tools: Functions, a `Toolbox`, or a `ToolRunner` to share.
        concurrency: Maximum number of tools that run at once.
        others: How to treat calls of tools that are not here. `"refuse"`: they are answered with an error that names
            the tools that exist. `"pass"`: they are left to the application, or to other `Tools` below.

    Raises:
        ValueError: `others` is something else, or `concurrency` is below 1.
    """

    @check_options
    def __init__(
        self,
        tools: ToolRunner | Toolbox | Iterable[ToolLike] = (),
        *,
        concurrency: int = 8,
        others: Literal["refuse", "pass"] = "refuse",
    ) -> None:
        if others not in ("refuse", "pass"):
            raise ValueError(f"Tools(others={others!r}): expected 'refuse' or 'pass'")
        self.runner = tools if isinstance(tools, ToolRunner) else ToolRunner(tools, concurrency=concurrency)
        """The runner of the tools."""
        self.others: Literal["refuse", "pass"] = others
        """How calls of tools that are not here are treated."""

    async def run(
        self,
        inbox: Inbox[ToolCall | Configure | Interrupt],
        out: Outlet[ToolCall | Configure | ToolResult | ToolStarted | ToolProgress | ToolFinished],
    ) -> None:
        """Run calls until the end of the stream, then wait for those that still run."""
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
                    self._start(frame, out, group)

    def _start(self, call: ToolCall, out: Outlet[Any], group: anyio.abc.TaskGroup) -> None:
        """Begin a call at once, so that an interrupt can cancel it before its task starts."""
        runner = self.runner
        if not runner.knows(call):
            group.start_soon(self._send_result, partial(runner.finish, runner.begin(call, out.send)), out)
        elif call.call_id not in runner.running:  # called again, for example after a reconnect
            group.start_soon(self._send_result, partial(runner.run, call, out.send), out)

    async def _send_result(self, run: Callable[[], Awaitable[ToolResult | None]], out: Outlet[Any]) -> None:
        result = await run()
        if result is not None:
            await out.send(result)
