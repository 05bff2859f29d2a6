"""`SharedToolRunner`: keeps tools running after the failover has left the brain that called them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from bargein.pipeline import Frame, ToolCall, ToolResult
from bargein.services.tools import Toolbox, ToolRunner
from bargein.services.tools.runner import RunningCall

__all__ = ["SharedToolRunner"]

Emit = Callable[[Frame], Awaitable[None]]


class _PendingCall:
    """A call for whose result the brain waits, or waited until it was left."""

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self.done = anyio.Event()
        self.result: ToolResult | None = None
        self.error: Exception | None = None


class SharedToolRunner(ToolRunner):
    """A `ToolRunner` whose tools run in a task group of the failover, so that they outlive the brain.

    Each run of a brain uses one instead of the brain's runner.

    Args:
        runner: The brain's own runner.
        group: The task group in which the tools run.
        emit_late: An async function that is called with each frame of a tool after the brain was left.
        on_orphan: An async function that is called with a call whose brain was left, and its result or None.
    """

    def __init__(
        self,
        runner: ToolRunner,
        group: anyio.abc.TaskGroup,
        emit_late: Emit,
        on_orphan: Callable[[ToolCall, ToolResult | None], Coroutine[Any, Any, None]],
    ) -> None:
        self.runner = runner
        super().__init__(runner.toolbox, concurrency=runner.concurrency)
        self._left = False
        self._pending: list[_PendingCall] = []
        self._group = group
        self._emit_late = emit_late
        self._on_orphan = on_orphan
        self._running_calls: dict[RunningCall, _PendingCall] = {}

    @property
    def toolbox(self) -> Toolbox:
        """The brain's tools."""
        return self.runner.toolbox

    @toolbox.setter
    def toolbox(self, toolbox: Toolbox) -> None:
        self.runner.toolbox = toolbox

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the calls that run."""
        return self.runner.running

    def knows(self, call: ToolCall) -> bool:
        """Return whether a call runs or has been answered."""
        return self.runner.knows(call)

    def cancel(self, call_id: str) -> bool:
        """Cancel a call. Return whether it was running."""
        return self.runner.cancel(call_id)

    def interrupt(self) -> tuple[str, ...]:
        """Cancel the tools that are `cancellable`, and return the ids of their calls."""
        return self.runner.interrupt()

    def leave(self) -> None:
        """Mark the brain as left: it no longer waits for results."""
        self._left = True
        for pending in self._pending:
            if pending.done.is_set():  # the brain was left before it received the result
                self._group.start_soon(self._on_orphan, pending.call, pending.result)

    async def run(self, call: ToolCall, emit: Emit) -> ToolResult | None:
        """Run a call, as `ToolRunner.run` does."""
        if self.runner.knows(call):
            return await self.runner.run(call, emit)
        return await self.finish(self.begin(call, emit))

    def begin(self, call: ToolCall, emit: Emit) -> RunningCall:
        """Register a call, as `ToolRunner.begin` does."""

        async def emit_in_time(frame: Frame) -> None:
            await (self._emit_late if self._left else emit)(frame)

        running = self.runner.begin(call, emit_in_time)
        self._running_calls[running] = _PendingCall(call)
        return running

    async def finish(self, running: RunningCall) -> ToolResult | None:
        """Run a call that `begin` has registered, as `ToolRunner.finish` does. Cancelling this does not cancel the
        tool."""
        pending = self._running_calls.pop(running)
        # The tool runs in the failover's task group, because the brain's task, which waits below, ends with the brain.
        self._pending.append(pending)
        self._group.start_soon(self._work, running, pending)
        await pending.done.wait()
        self._pending.remove(pending)
        if pending.error is not None:
            raise pending.error
        return pending.result

    async def _work(self, running: RunningCall, pending: _PendingCall) -> None:
        try:
            pending.result = await self.runner.finish(running)
        except Exception as error:  # raised by the brain's `emit`
            pending.error = error
        pending.done.set()
        if self._left:
            await self._on_orphan(pending.call, pending.result)
