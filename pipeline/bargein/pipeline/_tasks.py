"""The tasks of a session: one for each processor that waits, owns a loop or blocks, and one for each reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from time import perf_counter
from typing import Any

import anyio

from ._contract import ProcessorKind
from ._host import start_host
from ._leash import CancellationIgnored, run_cancellable
from ._run import Run
from ._stage import Stage, Unwind, inherit
from ._worker import Worker
from .errors import SessionError, StuckError
from .frames import LIVE, Delivery, Frame
from .ports import Inbox, Outlet

__all__ = ["Tasks"]

BATCH = 32
"""How many frames a blocking processor is handed at once,"""
BATCH_SECONDS = 0.005
"""and for how long it works on them before it hands back what it has."""


class Tasks:
    """Starts the tasks of a run, and ends them within a bound."""

    def __init__(self, run: Run, cancel_within: float, drain_within: float, on_done: Callable[[], None]) -> None:
        self.run = run
        self.cancel_within = cancel_within
        self.drain_within = drain_within
        self.cancelling = False
        self._finishing = False  # the graph has ended, and the last news is heard
        self.unstoppable: list[str] = []
        self.ids: set[int] = set()  # of its tasks
        self.count = 0
        self._running: dict[str, int] = {}
        self._stages = [stage for stage in run.stages[1:-1] if stage.inbox is not None]
        self._managed = [stage for stage in run.stages[1:-1] if _manages(stage)]
        self._lingering = [stage for stage in self._stages if _hears(stage)]
        for stage in self._lingering:
            if stage.inbox is not None:
                stage.inbox.lingers = True
        self._ready = anyio.Event()
        self._done = anyio.Event()
        self._on_done = on_done
        self._scopes: list[anyio.CancelScope] = []  # around each context, the innermost last
        self._entering = False
        self._group: anyio.abc.TaskGroup | None = None

    @property
    def needed(self) -> bool:
        """Whether there is anything to run: a graph that is fused throughout runs in its senders' tasks."""
        return bool(self._stages or self._managed)

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the processors that have a task now, or a context that has not been left."""
        return tuple(self._running)

    async def start(self) -> None:
        """Start everything; returns when every context has been entered, or has failed to."""
        start_host(self._host, "bargein session")
        await self._ready.wait()

    def cancel(self) -> None:
        """Ask everything to stop. Whoever waits for room in an inbox goes on."""
        self.cancelling = True
        if self._group is not None:
            self._group.cancel_scope.cancel()
        if self._entering:
            self._scopes[-1].cancel()
        self._leave_within(self.cancel_within / 2)
        for stage in self._stages:
            if stage.inbox is not None:
                stage.inbox.close()

    def _leave_within(self, seconds: float) -> None:
        """From now on contexts have so long to be left."""
        deadline = anyio.current_time() + seconds
        for scope in self._scopes:
            scope.deadline = deadline

    def finish(self) -> None:
        """The graph has ended: whoever still runs works for nobody, but for those that have news to hear first."""
        self._leave_within(self.drain_within)
        if not self._lingering:
            if self._group is not None:
                self._group.cancel_scope.cancel()
            return
        for stage in self._stages:
            if stage not in self._lingering and stage.scope is not None:
                stage.scope.cancel()
        self.run.end_replies()
        self._finishing = True
        self._over_next()

    def _over_next(self) -> None:
        """No news will come to the lowest of those that hear news; what it answers, those above it still hear."""
        for stage in reversed(self._lingering):
            if stage.inbox is not None and not stage.inbox.ended:
                stage.inbox.over()
                return

    async def done(self) -> None:
        """Wait until everything has stopped."""
        await self._done.wait()

    # The host -----------------------------------------------------------------------------------------------------

    async def _host(self) -> None:
        self.count += 1
        try:
            async with AsyncExitStack() as contexts:
                for stage in self._managed:
                    if self.run.failure is None and not self.cancelling:
                        await self._enter(stage, contexts)
                if self.run.failure is None and not self.cancelling:
                    await self._work_until_done()
        except Exception as error:
            self.run.fail(None, error)
        finally:
            self.count -= 1
            self._ready.set()
            self._done.set()
            self._on_done()

    async def _work_until_done(self) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            for stage in self._stages:
                self._begin(stage)
                stage.scope = anyio.CancelScope()  # made here: it may be cancelled before its task begins
                group.start_soon(self._serve, stage, name=f"bargein {stage.name}")
            self._ready.set()
            if not self._stages:  # only contexts to keep open, until the graph has ended
                await anyio.sleep_forever()

    async def _enter(self, stage: Stage, contexts: AsyncExitStack) -> None:
        processor = stage.processor
        # A scope around each context and not inside it: a processor may hold a scope or a task group of its own open
        # from its entry to its exit, and scopes must nest.
        self._scopes.append(contexts.enter_context(anyio.CancelScope()))
        self._entering = True
        try:
            if hasattr(processor, "__aenter__"):
                await processor.__aenter__()
            else:
                processor.__enter__()
        except anyio.get_cancelled_exc_class():
            self._entering = False
            raise
        except BaseException as error:
            self._entering = False
            error.add_note("while it was entered, before its first frame")
            self.run.fail(stage, error)
            return
        self._entering = False
        self._begin(stage)
        contexts.push_async_exit(partial(self._leave, stage))

    async def _leave(self, stage: Stage, *_: object) -> None:
        """Leave a context. No scope here, as the processor may close one that it opened when it was entered."""
        processor = stage.processor
        try:
            if hasattr(processor, "__aexit__"):
                await processor.__aexit__(None, None, None)
            else:
                processor.__exit__(None, None, None)
        except anyio.get_cancelled_exc_class():
            self.unstoppable.append(stage.name)
            raise
        except BaseException as error:
            error.add_note("while it was left, after its last frame")
            self.run.fail(stage, error)
        finally:
            self._end(stage)

    def _begin(self, stage: Stage) -> None:
        self._running[stage.name] = self._running.get(stage.name, 0) + 1

    def _end(self, stage: Stage) -> None:
        self._running[stage.name] -= 1
        if not self._running[stage.name]:
            del self._running[stage.name]

    # One task a processor -----------------------------------------------------------------------------------------

    async def _serve(self, stage: Stage) -> None:
        run, inbox, scope = self.run, stage.inbox, stage.scope
        assert inbox is not None
        assert scope is not None
        self.count += 1
        self.ids.add(me := anyio.get_current_task().id)
        try:
            with scope:
                await self._runner(stage)(stage, inbox)
            if stage not in self._lingering:
                inbox.close()
            while stage.counters.replies:
                stage.replies_done = anyio.Event()
                await stage.replies_done.wait()
            run.finish(stage)
            if run.overfull:
                await run.wait_for_room(stage)
            if stage in self._lingering:
                inbox.linger()
                with anyio.CancelScope() as stage.scope:
                    await self._runner(stage)(stage, inbox)
        except Unwind:
            pass
        except CancellationIgnored:
            if self.cancelling:
                self.unstoppable.append(stage.name)
            else:
                run.fail(stage, _swallows(stage))
        except anyio.get_cancelled_exc_class() as error:
            if self._called_off(scope):
                raise
            run.fail(stage, _foreign(stage, error))
        except GeneratorExit:
            raise
        except BaseException as error:
            run.fail(stage, _sole(error))
        finally:
            inbox.close()
            if self._finishing:
                self._over_next()
            self.ids.discard(me)
            self.count -= 1
            self._end(stage)

    def _runner(self, stage: Stage) -> Callable[[Stage, Inbox[Any]], Awaitable[None]]:
        contract = stage.contract
        assert contract is not None
        if contract.kind is ProcessorKind.LOOP:
            return self._loop
        if contract.kind is ProcessorKind.ASYNC:
            return self._waiting
        return self._blocking if _blocks(stage) else self._plain

    async def _plain(self, stage: Stage, inbox: Inbox[Any]) -> None:
        async for frame in inbox:
            self.run.enter(stage, frame)
            if self.run.overfull:
                await self.run.wait_for_room(stage)

    async def _waiting(self, stage: Stage, inbox: Inbox[Any]) -> None:
        run, process = self.run, stage.processor.process
        live: Outlet[Any] = Outlet(run, stage)
        own = stage.scope
        assert own is not None
        cancelled = self._cancelled
        while True:
            try:
                frame = await inbox.receive()
            except anyio.EndOfStream:
                return
            try:
                if frame.epoch == LIVE:
                    await run_cancellable(process(frame, live), own, cancelled)
                elif frame.delivery is Delivery.URGENT:  # what it causes is of its epoch, but it is not called off
                    await run_cancellable(process(frame, Outlet(run, stage, frame.epoch)), own, self._cancelled)
                else:
                    with anyio.CancelScope() as scope:
                        stage.working = (frame.epoch, scope)
                        await run_cancellable(
                            process(frame, Outlet(run, stage, frame.epoch)), scope, partial(self._stale, scope)
                        )
            except CancellationIgnored:
                self._swallowed(stage, frame)
            except Exception as error:
                run.failed(stage, error, frame)
            finally:
                stage.working = None

    async def _loop(self, stage: Stage, inbox: Inbox[Any]) -> None:
        run, contract = self.run, stage.contract
        assert contract is not None
        scope = stage.scope
        assert scope is not None
        outlet: Outlet[Any] = Outlet(run, stage)
        ports = [inbox if port == "inbox" else outlet for port in contract.ports]
        while True:
            try:
                await run_cancellable(stage.processor.run(*ports), scope, partial(self._stale, scope))
            except Exception as error:
                if isinstance(error, anyio.EndOfStream) and inbox.ended:
                    return  # it awaited another frame and there is none: the usual way to end
                if stage.processor.on_error != "restart" or stage.counters.restarts >= stage.processor.restarts:
                    raise
                stage.counters.restarts += 1
                run.report(stage, error, f"was restarted ({stage.counters.restarts} of {stage.processor.restarts})")
            else:
                return

    async def _blocking(self, stage: Stage, inbox: Inbox[Any]) -> None:
        processor = stage.processor
        worker = Worker(f"bargein {stage.name}")
        entered: list[bool] = []  # noted in the thread, which may come to it after the session has let go

        def enter() -> None:
            processor.__enter__()
            entered.append(True)

        def leave() -> None:
            if entered:
                processor.__exit__(None, None, None)

        managed = hasattr(processor, "__enter__") and not hasattr(processor, "__aenter__")
        try:
            if managed:
                await worker.call(enter)
            async for first in inbox:
                batch = [first]
                while len(batch) < BATCH and (frame := inbox.receive_nowait()) is not None:
                    batch.append(frame)
                while batch:
                    if (urgent := inbox.urgent_nowait()) is not None:
                        batch.insert(0, urgent)
                    batch = await self._work(stage, worker, batch)
        finally:
            called_off = stage.scope is not None and self._called_off(stage.scope)
            bound = self.cancel_within / 2 if called_off else float("inf")
            try:
                with anyio.move_on_after(bound, shield=called_off) as closing:
                    try:
                        if managed:
                            await worker.call(leave)
                    finally:
                        await worker.close()
                if closing.cancelled_caught:
                    self.unstoppable.append(stage.name)
            except anyio.get_cancelled_exc_class():
                self.unstoppable.append(stage.name)
                raise

    async def _work(self, stage: Stage, worker: Worker, batch: list[Frame]) -> list[Frame]:
        """Hand a batch to the thread and deliver what it made; returns what it had no time for."""
        run = self.run
        made, used, error = await worker.call(partial(_in_thread, stage, batch))
        for out, cause in made:
            if not isinstance(out, Frame):
                run.failed(stage, stage.not_a_frame(out), batch[used - 1])
                continue
            stage.counters.frames_out += 1
            run.feed(stage, inherit(out, cause) if out.epoch > cause else out)
        if error is not None:
            run.failed(stage, error, batch[used - 1])
        if run.overfull:
            await run.wait_for_room(stage)
        return batch[used:]

    # Replies ------------------------------------------------------------------------------------------------------

    def start_reply(
        self,
        stage: Stage,
        reply: Outlet[Any],
        function: Callable[..., Coroutine[Any, Any, None]],
        args: tuple[Any, ...],
        running: dict[anyio.CancelScope, int],
    ) -> None:
        """Start a response in a task of its own, registered at once, so that an interrupt before its start counts."""
        assert self._group is not None
        scope = anyio.CancelScope()
        running[scope] = reply.epoch
        stage.counters.replies += 1
        self._group.start_soon(self._reply, stage, reply, partial(function, reply, *args), scope, running)

    async def _reply(
        self,
        stage: Stage,
        reply: Outlet[Any],
        function: Callable[[], Coroutine[Any, Any, None]],
        scope: anyio.CancelScope,
        running: dict[anyio.CancelScope, int],
    ) -> None:
        self.count += 1
        self.ids.add(me := anyio.get_current_task().id)
        try:
            with scope:
                if not reply.stale:
                    await run_cancellable(function(), scope, partial(self._stale, scope))
        except Unwind:
            pass
        except CancellationIgnored:
            self._swallowed(stage, None)
        except anyio.get_cancelled_exc_class() as error:
            if self._called_off(scope):
                raise
            self.run.fail(stage, _foreign(stage, error))
        except GeneratorExit:
            raise
        except BaseException as error:
            with suppress(Unwind):
                self.run.failed(stage, error)
        finally:
            self.count -= 1
            self.ids.discard(me)
            del running[scope]
            stage.counters.replies -= 1
            if stage.replies_done is not None and not stage.counters.replies:
                stage.replies_done.set()

    def _called_off(self, scope: anyio.CancelScope) -> bool:
        """Whether a cancellation is the session's own: its end, an interrupt, or the event loop's."""
        group = self._group
        return self.cancelling or scope.cancel_called or (group is not None and group.cancel_scope.cancel_called)

    def _cancelled(self) -> bool:
        return self.cancelling or (self._group is not None and self._group.cancel_scope.cancel_called)

    def _stale(self, scope: anyio.CancelScope) -> bool:
        return self._called_off(scope)

    def _swallowed(self, stage: Stage, frame: Frame | None) -> None:
        """Let go of what swallowed its cancellation: the session's, and then it is named; or an interrupt's."""
        if self.cancelling:
            self.unstoppable.append(stage.name)
            return
        with suppress(Unwind):
            self.run.failed(stage, _swallows(stage), frame)


def _in_thread(stage: Stage, batch: list[Frame]) -> tuple[list[tuple[Any, int]], int, Exception | None]:
    """Work through a batch, in the worker thread: what was made and for whom, how far it came, what went wrong."""
    outputs, epoch = stage.outputs, stage.run.epoch
    made: list[tuple[Any, int]] = []
    began = perf_counter()
    for used, frame in enumerate(batch, 1):
        if frame.epoch < epoch.number:
            stage.counters.stale += 1
            continue
        try:
            made += [(out, frame.epoch) for out in outputs(frame)]
        except Exception as error:
            return made, used, error
        if perf_counter() - began > BATCH_SECONDS:
            return made, used, None
    return made, len(batch), None


def _swallows(stage: Stage) -> StuckError:
    return StuckError(
        f"{stage.name!r} swallowed its cancellation again and again and was let go; "
        "let the backend's cancellation exception pass, or re-raise it",
        (stage.name,),
    )


def _foreign(stage: Stage, error: BaseException) -> SessionError:
    """The failure for a cancellation that nobody here asked for, such as awaiting a task that somebody cancelled."""
    failure = SessionError(
        f"{stage.name!r} was cancelled by something other than its session: it awaited a task or a future that was "
        "cancelled. Catch that where it is awaited"
    )
    failure.__cause__ = error
    return failure


def _blocks(stage: Stage) -> bool:
    return bool(stage.processor.blocking)


def _hears(stage: Stage) -> bool:
    """Whether it hears news from below after its own end, as it would if it were fused.

    Not a loop, which ends when it returns, and not a blocking one, whose thread ends with its data.
    """
    contract = stage.contract
    return (
        contract is not None
        and contract.kind is not ProcessorKind.LOOP
        and not _blocks(stage)
        and any(kind.delivery is Delivery.UPSTREAM for kind in contract.takes)
    )


def _manages(stage: Stage) -> bool:
    """Whether the host enters its context; a blocking processor's plain one is entered in its thread."""
    processor = stage.processor
    return hasattr(processor, "__aenter__") or (hasattr(processor, "__enter__") and not _blocks(stage))


def _sole(error: BaseException) -> BaseException:
    """The exception that a group holds, when it is one alone: that a loop has a task group is its own matter."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
