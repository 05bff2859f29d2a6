"""The tasks of a session: their start, the contexts around them, and their end within a bound."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import anyio

from ._backend import start_host
from ._cancellation import CancellationIgnored
from ._checks import unwrap_exception
from ._contract import ProcessorKind
from ._deadline import wait_at_most
from ._replies import start_reply
from ._run import Run
from ._runners import runner_of
from ._stage import Stage, Unwind
from ._task_state import TaskState, cancelled_from_outside, ignored_cancellation
from .frames import Delivery

__all__ = ["Tasks"]


class Tasks:
    """Starts the tasks of a run, and ends them.

    Args:
        run: The run.
        cancel_seconds: How long tasks may take to stop when they are cancelled.
        drain_seconds: How long contexts may take to be left once the graph has ended.
        on_done: Called when everything has stopped.
    """

    def __init__(self, run: Run, cancel_seconds: float, drain_seconds: float, on_done: Callable[[], None]) -> None:
        self.run = run
        self.done = anyio.Event()
        """Set when everything has stopped."""
        self._state = TaskState(run, cancel_seconds)
        run.count_tasks = lambda: self._state.count
        run.reply_starter = partial(start_reply, self._state)
        self._drain_seconds = drain_seconds
        self._finishing = False  # the graph has ended, and the last upstream frames are delivered
        self._running: dict[str, int] = {}
        self._stages = [stage for stage in run.stages[1:-1] if stage.inbox is not None]
        self._managed = [stage for stage in run.stages[1:-1] if _has_context(stage)]
        self._lingering = [stage for stage in self._stages if _lingers(stage)]
        for stage in self._lingering:
            if stage.inbox is not None:
                stage.inbox._lingers = True
        self._ready = anyio.Event()
        self._on_done = on_done
        self._scopes: list[anyio.CancelScope] = []  # around each context, the innermost last
        self._entering = False

    @property
    def has_tasks(self) -> bool:
        """Whether there is anything to run: a graph that is fused throughout runs in its senders' tasks."""
        return bool(self._stages or self._managed)

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the processors that have a running task or an open context."""
        return tuple(self._running)

    @property
    def unstoppable(self) -> tuple[str, ...]:
        """The names of the processors that ignored their cancellation."""
        return tuple(self._state.unstoppable)

    def includes_current(self) -> bool:
        """Return whether the running task is one of these."""
        return anyio.get_current_task().id in self._state.ids

    async def start(self) -> None:
        """Start everything. Returns when every context has been entered, or has failed to be."""
        start_host(self._host, "bargein session")
        await self._ready.wait()

    def cancel(self) -> None:
        """Ask everything to stop. Senders that wait for room in an inbox continue."""
        state = self._state
        state.cancelling = True
        if state.group is not None:
            state.group.cancel_scope.cancel()
        # While contexts are entered there is no task group yet. The last scope is that of the context that is being
        # entered.
        if self._entering:
            self._scopes[-1].cancel()
        for stage in self._stages:
            if stage.inbox is not None:
                stage.inbox._close()

    def cancel_contexts(self) -> None:
        """Stop waiting for contexts to be left."""
        for scope in self._scopes:
            scope.cancel()

    def finish(self) -> None:
        """Cancel what still runs, because the graph has ended.

        Processors that take upstream frames first receive the last of them.
        """
        if self._scopes:
            start_host(self._bound_contexts, "bargein contexts")
        if not self._lingering:
            if self._state.group is not None:
                self._state.group.cancel_scope.cancel()
            return
        for stage in self._stages:
            if stage not in self._lingering and stage.scope is not None:
                stage.scope.cancel()
        self.run.interrupts.cancel_replies()
        self._finishing = True
        self._end_next_upstream()

    async def _bound_contexts(self) -> None:
        """Cancel the contexts that have not been left in time, so that ending has a bound."""
        if not await wait_at_most(self.done.wait, self._drain_seconds):
            self.cancel_contexts()

    def _end_next_upstream(self) -> None:
        """Notify the lowest processor that takes upstream frames that no more will come.

        What it answers is still delivered to those above it; their turn comes when it has ended.
        """
        for stage in reversed(self._lingering):
            if stage.inbox is not None and not stage.inbox.ended:
                stage.inbox._end_upstream()
                return

    # The host -----------------------------------------------------------------------------------------------------

    async def _host(self) -> None:
        """Own all tasks: enter the contexts, run the processors, leave the contexts."""
        self._state.count += 1
        try:
            async with AsyncExitStack() as contexts:
                for stage in self._managed:
                    if self.run.failure is None and not self._state.cancelling:
                        await self._enter(stage, contexts)
                if self.run.failure is None and not self._state.cancelling:
                    await self._work_until_done()
        except Exception as error:
            self.run.fail(None, error)
        finally:
            self._state.count -= 1
            self._ready.set()
            self.done.set()
            self._on_done()

    async def _work_until_done(self) -> None:
        async with anyio.create_task_group() as group:
            self._state.group = group
            for stage in self._stages:
                self._count_running(stage)
                stage.scope = anyio.CancelScope()  # here, because it may be cancelled before its task begins
                group.start_soon(self._serve, stage, name=f"bargein {stage.name}")
            self._ready.set()
            if not self._stages:  # only contexts, which stay open until the graph has ended
                await anyio.sleep_forever()

    async def _enter(self, stage: Stage, contexts: AsyncExitStack) -> None:
        processor = stage.processor
        # The scope is around the context and not inside of it: a processor may hold its own scope or task group open
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
        self._count_running(stage)
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
            self._state.unstoppable.append(stage.name)
            raise
        except BaseException as error:
            error.add_note("while it was left, after its last frame")
            self.run.fail(stage, error)
        finally:
            self._count_ended(stage)

    def _count_running(self, stage: Stage) -> None:
        self._running[stage.name] = self._running.get(stage.name, 0) + 1

    def _count_ended(self, stage: Stage) -> None:
        self._running[stage.name] -= 1
        if not self._running[stage.name]:
            del self._running[stage.name]

    # One task for each processor ----------------------------------------------------------------------------------

    async def _serve(self, stage: Stage) -> None:
        run, state, inbox, scope = self.run, self._state, stage.inbox, stage.scope
        assert inbox is not None
        assert scope is not None
        task_id = state.enter_task()
        try:
            await self._run_to_its_end(stage)
        except Unwind:
            pass
        except CancellationIgnored:
            # While the session is being cancelled, `cancel` reports the name. At any other time the stage has lost its
            # task, so the session fails.
            if state.cancelling:
                state.unstoppable.append(stage.name)
            else:
                run.fail(stage, ignored_cancellation(stage))
        except anyio.get_cancelled_exc_class() as error:
            # Only a cancellation by this session passes on. Another one comes from an asyncio task or future that other
            # code has cancelled, and is a failure of the processor.
            if state.is_cancelled_in(scope):
                raise
            run.fail(stage, cancelled_from_outside(stage, error))
        except GeneratorExit:
            raise
        except BaseException as error:
            run.fail(stage, unwrap_exception(error))
        finally:
            inbox._close()
            if self._finishing:
                self._end_next_upstream()
            state.leave_task(task_id)
            self._count_ended(stage)

    async def _run_to_its_end(self, stage: Stage) -> None:
        run, state, inbox, scope = self.run, self._state, stage.inbox, stage.scope
        assert inbox is not None
        assert scope is not None
        drive = runner_of(stage)
        with scope:
            await drive(state, stage, inbox)
        if stage not in self._lingering:
            inbox._close()
        # Replies are child tasks of the stage. `End` may pass only when none of them can still send.
        while stage.counters.replies:
            stage.replies_done = anyio.Event()
            await stage.replies_done.wait()
        run.finish(stage)
        if run.overfull:
            await run.wait_for_room(stage)
        if stage in self._lingering:
            inbox._linger()
            with anyio.CancelScope() as stage.scope:
                await drive(state, stage, inbox)


def _lingers(stage: Stage) -> bool:
    """Return whether it takes upstream frames after its own end, as it would if it were fused.

    A loop does not, because it ends when it returns. A blocking processor does not, because its thread ends with its
    data.
    """
    contract = stage.contract
    return (
        contract is not None
        and contract.kind is not ProcessorKind.LOOP
        and not stage.blocking
        and any(kind.delivery is Delivery.UPSTREAM for kind in contract.takes)
    )


def _has_context(stage: Stage) -> bool:
    """Return whether the host enters its context. A blocking processor's sync one is entered in its thread."""
    processor = stage.processor
    return hasattr(processor, "__aenter__") or (hasattr(processor, "__enter__") and not stage.blocking)
