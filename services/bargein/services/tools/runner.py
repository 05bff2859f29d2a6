"""Runs the calls of a model: bounded, timed, once each, and never failing but to the model."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Any

import anyio

from bargein.pipeline import ToolCall, ToolResult
from bargein.pipeline.lowlevel import CancellationIgnored, Worker, on_trio, run_cancellable
from bargein.services.frames import ToolFinished, ToolStarted
from bargein.services.sockets.text import clean

from .context import Emit, ToolContext
from .tool import ArgumentsError, Tool, Toolbox, ToolError, encode

__all__ = ["CANCELLED_OUTPUT", "ToolRunner"]

log = logging.getLogger("bargein")

CANCELLED_OUTPUT = '"called off: the user went on"'
"""The result that a model sees for a call that an interrupt cancelled."""

REMEMBERED = 256
"""How many answered calls are known by their ids."""

ABANDONED = 32
"""How many threads may be left behind in calls that took too long, before blocking tools are refused."""

LONGEST = 500
"""How many characters of an exception's message the model is told."""


class _Call:
    """A call that is under way."""

    __slots__ = ("call", "context", "done", "key", "result", "scope", "tool")

    def __init__(self, key: Hashable, call: ToolCall, tool: Tool[..., Any] | None, emit: Emit) -> None:
        self.key = key
        self.call = call
        self.tool = tool
        self.scope = anyio.CancelScope()
        self.context = ToolContext(call.call_id, call.name, emit)
        self.done = anyio.Event()
        self.result: ToolResult | None = None

    def cancel(self) -> None:
        """Call it off."""
        self.context.cancelled = True
        self.scope.cancel()


class ToolRunner:
    """Runs tools for a model. One serves one conversation.

    `concurrency` tools run at once, and further calls wait for one to finish; their timeouts begin when they run.
    Raises `ValueError` unless it is positive.
    """

    def __init__(
        self, toolbox: Toolbox | Iterable[Tool[..., Any] | Callable[..., Any]] = (), *, concurrency: int = 8
    ) -> None:
        if concurrency < 1:
            raise ValueError(
                f"ToolRunner(concurrency={concurrency}): expected how many tools may run at once, 1 or more"
            )
        self.toolbox = toolbox if isinstance(toolbox, Toolbox) else Toolbox(toolbox)
        """The tools; another toolbox may be put here at any time, for the calls to come."""
        self.concurrency = concurrency
        """How many run at once."""
        self._running: dict[Hashable, _Call] = {}
        self._answered: dict[Hashable, ToolResult | None] = {}  # the oldest first
        self._slots: anyio.Semaphore | None = None
        self._threads = threading.BoundedSemaphore(concurrency + ABANDONED)

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the calls that are under way."""
        return tuple(each.call.call_id for each in self._running.values())

    async def run(self, call: ToolCall, emit: Emit) -> ToolResult | None:
        """Run a call, and return what the model should be told, or None when it was called off.

        `emit` is awaited with a `ToolStarted`, each `ToolProgress`, and a `ToolFinished`. Whatever the model or the
        tool does wrong is a result with `error=True` and a sentence for the model: an unknown tool, arguments that do
        not fit, too long a time, an exception (its class and message; the log has the rest), an answer that is no
        JSON. What `emit` raises is raised.

        The same call (its id, name and arguments) is never run twice: asked again while it runs, this waits for its
        answer, and later it gives the one that it remembers, and emits nothing. A call without an id is always run.
        """
        key = _key(call)
        if key in self._answered:
            return self._answered[key]
        if (known := self._running.get(key)) is not None:
            await known.done.wait()
            return known.result
        return await self.finish(self.begin(call, emit))

    def knows(self, call: ToolCall) -> bool:
        """Whether the call is under way or has been answered."""
        return (key := _key(call)) in self._running or key in self._answered

    def cancel(self, call: str) -> bool:
        """Call off the call of an id, as its provider wishes: it is never answered. Whether there was one."""
        found = [each for each in self._running.values() if each.call.call_id == call]
        for each in found:
            each.cancel()
        return bool(found)

    def interrupt(self) -> tuple[str, ...]:
        """The user has interrupted: call off the tools that are `cancellable`, and return the ids of their calls.

        The others go on, and may look at `ToolContext.interrupted`.
        """
        ended = []
        for each in list(self._running.values()):
            each.context.interrupted = True
            if each.tool is not None and each.tool.cancellable:
                each.cancel()
                ended.append(each.call.call_id)
        return tuple(ended)

    # In two steps, for whoever starts a task for it ---------------------------------------------------------------

    def begin(self, call: ToolCall, emit: Emit) -> _Call:
        """Take note of a call, so that from now on it can be called off. It must be finished."""
        begun = _Call(_key(call), call, self.toolbox.get(call.name), emit)
        self._running[begun.key] = begun
        return begun

    async def finish(self, begun: _Call) -> ToolResult | None:
        """Run what was begun; as `run`."""
        call, emit = begun.call, begun.context.emit
        since = anyio.current_time()
        try:
            await emit(ToolStarted(call_id=call.call_id, name=call.name, arguments=call.arguments))
            output, error = "", False
            with begun.scope:
                output, error = await self._answer(begun)
            called_off = begun.scope.cancel_called
            if not called_off:
                begun.result = ToolResult(call_id=call.call_id, output=output, error=error)
            self._remember(begun)
        finally:
            self._running.pop(begun.key, None)
            begun.context.close()
            begun.done.set()
        await emit(
            ToolFinished(
                call_id=call.call_id,
                name=call.name,
                output="" if called_off else output,
                error=error and not called_off,
                cancelled=called_off,
                seconds=anyio.current_time() - since,
            )
        )
        return begun.result

    def _remember(self, begun: _Call) -> None:
        if begun.call.call_id:
            self._answered[begun.key] = begun.result
            if len(self._answered) > REMEMBERED:
                del self._answered[next(iter(self._answered))]

    # One call -----------------------------------------------------------------------------------------------------

    async def _answer(self, begun: _Call) -> tuple[str, bool]:
        """What the model should be told, and whether it is an error."""
        tool = begun.tool
        if tool is None:
            names = ", ".join(self.toolbox.names)
            known = f"the tools are: {names}" if names else "there are no tools"
            return f"there is no tool {begun.call.name!r}; {known}", True
        try:
            arguments = tool.decode(begun.call.arguments)
        except ArgumentsError as error:
            return clean(str(error)), True
        self._slots = self._slots or anyio.Semaphore(self.concurrency)
        async with self._slots:
            if not tool.context:
                return await self._within(begun, tool, arguments)
            return await self._reporting(begun, tool, arguments | dict.fromkeys(tool.context, begun.context))

    async def _reporting(self, begun: _Call, tool: Tool[..., Any], arguments: dict[str, Any]) -> tuple[str, bool]:
        """Run it, and send what it reports meanwhile."""
        begun.context.open()
        answer = "", False
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(begun.context.pump)
                try:
                    answer = await self._within(begun, tool, arguments)
                finally:
                    begun.context.close()
        except BaseExceptionGroup as errors:
            if len(errors.exceptions) == 1:  # what emit raised, as itself
                raise errors.exceptions[0] from None
            raise
        return answer

    async def _within(self, begun: _Call, tool: Tool[..., Any], arguments: dict[str, Any]) -> tuple[str, bool]:
        """Run it as long as it may, and answer for it."""
        name = tool.name
        try:
            with anyio.move_on_after(tool.timeout) as limit:
                value = await self._call(begun, tool, arguments, limit)
            if limit.cancelled_caught:
                begun.context.cancelled = True
                log.warning("tool %r took longer than its %g s", name, tool.timeout)
                return f"{name} did not answer within {tool.timeout:g} s and was stopped", True
        except ToolError as error:
            return clean(str(error)), True
        except CancellationIgnored:
            log.error("tool %r swallowed its cancellation again and again and was let go", name)
            return f"{name} did not answer within {tool.timeout:g} s and was stopped", True
        except anyio.get_cancelled_exc_class():
            if _cancelled() or _cancelled_from_outside():
                begun.context.cancelled = True
                raise
            log.error("tool %r awaited something that was cancelled", name)
            return f"{name} failed: what it waited for was cancelled", True
        except Exception as error:
            cause = _innermost(error)
            log.error("tool %r raised", name, exc_info=error)
            return clean(f"{name} failed: {type(cause).__name__}: {_words(cause)}".rstrip(": ")), True
        try:
            return encode(value), False
        except Exception as error:
            log.error("tool %r returned %s, which has no JSON form", name, type(value).__name__, exc_info=error)
            return clean(f"{name} ran, but its answer of type {type(value).__name__} has no JSON form: {error}"), True

    async def _call(
        self, begun: _Call, tool: Tool[..., Any], arguments: dict[str, Any], limit: anyio.CancelScope
    ) -> object:
        if tool.blocking:
            return await self._in_thread(tool, arguments)
        value = tool.function(**arguments)
        if inspect.isawaitable(value):
            return await run_cancellable(_awaited(value), limit, _cancelled)
        return value

    async def _in_thread(self, tool: Tool[..., Any], arguments: dict[str, Any]) -> object:
        """In a thread of its own, a daemon: one that never returns keeps neither the session nor the program."""
        if not self._threads.acquire(blocking=False):
            raise ToolError(f"{tool.name} cannot run now: {ABANDONED} earlier calls have not returned yet")
        worker = Worker(f"bargein tool {tool.name}")

        def work() -> object:
            try:
                return tool.function(**arguments)
            finally:
                self._threads.release()

        try:
            return await worker.call(partial(copy_context().run, work))
        finally:
            with anyio.CancelScope() as scope:  # tell the thread to end after the call, and do not wait for that
                scope.cancel()
                await worker.close()


def _key(call: ToolCall) -> Hashable:
    return (call.call_id, call.name, call.arguments) if call.call_id else object()


async def _awaited(value: Awaitable[object]) -> object:
    return await value


def _cancelled() -> bool:
    return anyio.current_effective_deadline() == -math.inf


def _cancelled_from_outside() -> bool:
    """Whether somebody cancelled the asyncio task itself, past all scopes."""
    if on_trio():
        return False
    import asyncio  # noqa: PLC0415

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _innermost(error: BaseException) -> BaseException:
    """The exception that a group holds, when it is one alone."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _words(error: BaseException) -> str:
    try:
        return str(error)[:LONGEST]
    except Exception:
        return ""
