"""Tools that go on when the brain that called them has been left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from bargein.pipeline import Frame, ToolCall, ToolResult
from bargein.services.tools import ToolRunner

__all__ = ["SharedToolRunner"]

Emit = Callable[[Frame], Awaitable[None]]


class _Wait:
    """The brain's waiting for one call."""

    def __init__(self, call: ToolCall, emit: Emit) -> None:
        self.call = call
        self.emit = emit
        self.done = anyio.Event()
        self.result: ToolResult | None = None
        self.error: Exception | None = None


class SharedToolRunner:
    """In place of a brain's runner: the same, but that its tools run in a task group of somebody else's.

    `orphaned` is awaited with a call, and its result or None, that the brain has not waited for; `tell` with what such
    a tool still has to say.
    """

    def __init__(
        self,
        runner: ToolRunner,
        group: anyio.abc.TaskGroup,
        tell: Emit,
        orphaned: Callable[[ToolCall, ToolResult | None], Coroutine[Any, Any, None]],
    ) -> None:
        self.runner = runner
        """The brain's own."""
        self._left = False
        self._waits: list[_Wait] = []
        self._group = group
        self._tell = tell
        self._orphaned = orphaned
        self._begun: dict[int, tuple[Any, _Wait]] = {}  # by identity, which the first of the pair keeps

    @property
    def toolbox(self) -> Any:
        """The brain's tools."""
        return self.runner.toolbox

    @toolbox.setter
    def toolbox(self, toolbox: Any) -> None:
        self.runner.toolbox = toolbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    def leave(self) -> None:
        """The brain has been left: nobody will wait any more."""
        self._left = True
        for wait in self._waits:
            if wait.done.is_set():  # it had no time to hear of it
                self._group.start_soon(self._orphaned, wait.call, wait.result)

    async def run(self, call: ToolCall, emit: Emit) -> ToolResult | None:
        """As `ToolRunner.run`."""
        if self.runner.knows(call):
            return await self.runner.run(call, emit)
        return await self.finish(self.begin(call, emit))

    def begin(self, call: ToolCall, emit: Emit) -> Any:
        """As `ToolRunner.begin`."""
        wait = _Wait(call, emit)

        async def say(frame: Frame) -> None:
            await (self._tell if self._left else emit)(frame)

        begun = self.runner.begin(call, say)
        self._begun[id(begun)] = begun, wait
        return begun

    async def finish(self, begun: Any) -> ToolResult | None:
        """As `ToolRunner.finish`; who waits may be cancelled, and the tool is not."""
        _, wait = self._begun.pop(id(begun))
        self._waits.append(wait)
        self._group.start_soon(self._work, begun, wait)
        await wait.done.wait()
        self._waits.remove(wait)
        if wait.error is not None:
            raise wait.error
        return wait.result

    async def _work(self, begun: Any, wait: _Wait) -> None:
        try:
            wait.result = await self.runner.finish(begun)
        except Exception as error:  # of the brain's own ears
            wait.error = error
        wait.done.set()
        if self._left:
            await self._orphaned(wait.call, wait.result)
