"""`ToolRunner`: runs the tool calls of a model, each once and with a timeout, and returns errors to the model."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from collections.abc import Awaitable, Hashable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, runtime_checkable

import anyio

from bargein.pipeline import ToolCall, ToolResult
from bargein.pipeline.lowlevel import (
    CancellationIgnored,
    Worker,
    check_options,
    on_trio,
    run_cancellable,
    unwrap_exception,
)
from bargein.services.frames import ToolFinished, ToolStarted
from bargein.services.sockets.text import clean

from .context import Emit, ToolContext
from .tool import ArgumentsError, Tool, Toolbox, ToolError, ToolLike, encode

__all__ = ["CANCELLED_OUTPUT", "RunningCall", "RunsTools", "ToolRunner"]

log = logging.getLogger("bargein")

CANCELLED_OUTPUT = '"called off: the user went on"'
"""The result that a model sees for a call that an interrupt cancelled."""

MAX_ANSWERED = 256
"""Number of answered calls that are remembered, to recognise repeated calls."""

MAX_ABANDONED = 32
"""Number of threads that may still be busy with calls that timed out. Beyond that, blocking tools are refused."""


class RunningCall:
    """A call that is running.

    Args:
        key: Identifies the call; a repeated call has the same key.
        call: The call.
        tool: The tool, or None if there is no tool of this name.
        emit: Sends the progress reports of the tool.
    """

    __slots__ = ("call", "context", "done", "key", "result", "scope", "tool")

    @check_options
    def __init__(self, key: Hashable, call: ToolCall, tool: Tool[..., object] | None, emit: Emit) -> None:
        self.key = key
        self.call = call
        self.tool = tool
        self.scope = anyio.CancelScope()
        self.context = ToolContext(call.call_id, call.name, emit)
        self.done = anyio.Event()
        self.result: ToolResult | None = None

    def cancel(self) -> None:
        """Cancel the call."""
        self.context.cancelled = True
        self.scope.cancel()


class ToolRunner:
    """Runs tools for a model. One runner serves one conversation.

    Args:
        toolbox: The tools, or a `Toolbox`.
        concurrency: Maximum number of tools that run at once. Further calls wait, and their timeout begins when they
            run.

    Raises:
        ValueError: `concurrency` is below 1.
    """

    @check_options
    def __init__(self, toolbox: Toolbox | Iterable[ToolLike] = (), *, concurrency: int = 8) -> None:
        if concurrency < 1:
            raise ValueError(f"ToolRunner(concurrency={concurrency}): expected a number of tools, 1 or more")
        self.toolbox = toolbox if isinstance(toolbox, Toolbox) else Toolbox(toolbox)
        """The tools. Assign another toolbox at any time; it applies to the calls that follow."""
        self.concurrency = concurrency
        """Maximum number of tools that run at once."""
        self._running: dict[Hashable, RunningCall] = {}
        self._answered: dict[Hashable, ToolResult | None] = {}  # the oldest first
        self._slots: anyio.Semaphore | None = None
        self._threads = threading.BoundedSemaphore(concurrency + MAX_ABANDONED)

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the calls that are running."""
        return tuple(each.call.call_id for each in self._running.values())

    async def run(self, call: ToolCall, emit: Emit) -> ToolResult | None:
        """Run a call.

        A mistake of the model or the tool leads to a result with `error=True` and a sentence for the model: an unknown
        tool, arguments that do not fit, a timeout, an exception, a result that has no JSON form. The model may read the
        sentence to the user, so it never contains the text of an exception. That text is logged, with the traceback.

        A repeated call is not run twice. While the first call is running, this waits for its result; later, this
        returns that result. A call is a repetition if its response, id, name and arguments are the same. The id alone
        is not enough, because some models reuse ids in another response. A call without an id is always run.

        Args:
            call: The call.
            emit: An async function that is called with a `ToolStarted`, each `ToolProgress`, and a `ToolFinished`. Its
                exceptions are raised here.

        Returns:
            The result for the model, or None if the call was cancelled.
        """
        key = _key(call)
        if key in self._answered:
            return self._answered[key]
        if (known := self._running.get(key)) is not None:
            await known.done.wait()
            return known.result
        return await self.finish(self.begin(call, emit))

    def knows(self, call: ToolCall) -> bool:
        """Return whether a call is running or has been answered.

        Args:
            call: A call.
        """
        return (key := _key(call)) in self._running or key in self._answered

    def cancel(self, call_id: str) -> bool:
        """Cancel the running calls of an id, because the provider asks for it. They get no result.

        Args:
            call_id: Id of the calls.

        Returns:
            Whether a call of this id was running.
        """
        found = [each for each in self._running.values() if each.call.call_id == call_id]
        for each in found:
            each.cancel()
        return bool(found)

    def interrupt(self) -> tuple[str, ...]:
        """Cancel the tools that are `cancellable`, because the user has interrupted.

        The other tools continue. They can check `ToolContext.interrupted`.

        Returns:
            The ids of the cancelled calls.
        """
        ended = []
        for each in list(self._running.values()):
            each.context.interrupted = True
            if each.tool is not None and each.tool.cancellable:
                each.cancel()
                ended.append(each.call.call_id)
        return tuple(ended)

    # In two steps, to run a call in its own task --------------------------------------------------------------

    def begin(self, call: ToolCall, emit: Emit) -> RunningCall:
        """Register a call, so that it can be cancelled from now on. Pass the result to `finish`.

        Args:
            call: The call.
            emit: Sends the frames that report the tool's progress.
        """
        running = RunningCall(_key(call), call, self.toolbox.get(call.name), emit)
        self._running[running.key] = running
        return running

    async def finish(self, running: RunningCall) -> ToolResult | None:
        """Run a call that `begin` has registered; see `run`.

        Args:
            running: The result of `begin`.
        """
        call, emit = running.call, running.context.emit
        since = anyio.current_time()
        try:
            await emit(ToolStarted(call_id=call.call_id, name=call.name, arguments=call.arguments))
            output, error = "", False
            with running.scope:
                output, error = await self._answer(running)
            was_cancelled = running.scope.cancel_called
            if not was_cancelled:
                running.result = ToolResult(call_id=call.call_id, output=output, error=error)
            self._remember(running)
        finally:
            self._running.pop(running.key, None)
            running.context.close()
            running.done.set()
        await emit(
            ToolFinished(
                call_id=call.call_id,
                name=call.name,
                output="" if was_cancelled else output,
                error=error and not was_cancelled,
                cancelled=was_cancelled,
                seconds=anyio.current_time() - since,
            )
        )
        return running.result

    def _remember(self, running: RunningCall) -> None:
        if running.call.call_id:
            self._answered[running.key] = running.result
            if len(self._answered) > MAX_ANSWERED:
                del self._answered[next(iter(self._answered))]

    # One call -----------------------------------------------------------------------------------------------------

    async def _answer(self, running: RunningCall) -> tuple[str, bool]:
        """Return the output for the model, and whether it is an error."""
        tool = running.tool
        if tool is None:
            names = ", ".join(self.toolbox.names)
            known = f"the tools are: {names}" if names else "there are no tools"
            return f"there is no tool {running.call.name!r}; {known}", True
        try:
            arguments = tool.decode(running.call.arguments)
        except ArgumentsError as error:
            return clean(str(error)), True
        self._slots = self._slots or anyio.Semaphore(self.concurrency)
        async with self._slots:
            if not tool.context:
                return await self._within(running, tool, arguments)
            return await self._reporting(running, tool, arguments | dict.fromkeys(tool.context, running.context))

    async def _reporting(
        self, running: RunningCall, tool: Tool[..., object], arguments: dict[str, Any]
    ) -> tuple[str, bool]:
        """Run a tool, and send its reports while it runs."""
        running.context.open()
        answer = "", False
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(running.context.pump)
                try:
                    answer = await self._within(running, tool, arguments)
                finally:
                    running.context.close()
        except BaseExceptionGroup as errors:
            if (only := unwrap_exception(errors)) is not errors:  # an exception of emit
                raise only from None
            raise
        return answer

    async def _within(
        self, running: RunningCall, tool: Tool[..., object], arguments: dict[str, Any]
    ) -> tuple[str, bool]:
        """Run a tool within its timeout, and turn its exceptions into outputs for the model."""
        name = tool.name
        try:
            with anyio.move_on_after(tool.timeout_seconds) as limit:
                value = await self._call(running, tool, arguments, limit)
            if limit.cancelled_caught:
                running.context.cancelled = True
                log.warning("tool %r took longer than its %g s", name, tool.timeout_seconds)
                return f"{name} did not answer within {tool.timeout_seconds:g} s and was stopped", True
        except ToolError as error:
            return clean(str(error)), True
        except CancellationIgnored:
            log.error("tool %r suppressed its cancellation repeatedly and was abandoned", name)
            return f"{name} did not answer within {tool.timeout_seconds:g} s and was stopped", True
        except anyio.get_cancelled_exc_class():
            if _cancelled() or _cancelled_from_outside():
                running.context.cancelled = True
                raise
            log.error("tool %r awaited something that was cancelled", name)
            return f"{name} did not work", True
        except Exception as error:
            log.error("tool %r raised", name, exc_info=error)
            return f"{name} did not work", True
        try:
            return encode(value), False
        except Exception as error:
            log.error("tool %r returned %s, which has no JSON form", name, type(value).__name__, exc_info=error)
            return f"{name} ran, but its answer cannot be read", True

    async def _call(
        self, running: RunningCall, tool: Tool[..., object], arguments: dict[str, Any], limit: anyio.CancelScope
    ) -> object:
        if tool.blocking:
            return await self._in_thread(tool, arguments)
        value = tool.function(**arguments)
        if inspect.isawaitable(value):
            return await run_cancellable(_await(value), limit, _cancelled)
        return value

    async def _in_thread(self, tool: Tool[..., object], arguments: dict[str, Any]) -> object:
        """Run a tool in its own thread. It is a daemon thread, so a tool that never returns does not block the
        program's exit."""
        if not self._threads.acquire(blocking=False):
            raise ToolError(f"{tool.name} cannot run now: {MAX_ABANDONED} earlier calls have not returned yet")
        worker = Worker(f"bargein tool {tool.name}")

        def work() -> object:
            try:
                return tool.function(**arguments)
            finally:
                self._threads.release()

        try:
            return await worker.call(partial(copy_context().run, work))
        finally:
            with anyio.CancelScope() as scope:  # make the thread end after the call, without waiting for it
                scope.cancel()
                await worker.close()


@runtime_checkable
class RunsTools(Protocol):
    """A processor that runs tools. Its runner may be replaced before a session starts."""

    runner: ToolRunner


def _key(call: ToolCall) -> Hashable:
    return (call.response_id, call.call_id, call.name, call.arguments) if call.call_id else object()


async def _await(value: Awaitable[object]) -> object:
    return await value


def _cancelled() -> bool:
    return anyio.current_effective_deadline() == -math.inf


def _cancelled_from_outside() -> bool:
    """Return whether the asyncio task itself was cancelled, and not one of AnyIO's cancel scopes."""
    if on_trio():
        return False
    import asyncio  # noqa: PLC0415

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
