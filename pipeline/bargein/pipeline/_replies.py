"""Replies: the tasks that `Outlet.respond` starts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import anyio

from ._cancellation import CancellationIgnored, run_cancellable
from ._outlet import Outlet
from ._stage import Stage, Unwind
from ._task_state import TaskState, cancelled_from_outside

__all__ = ["start_reply"]


def start_reply(
    state: TaskState,
    stage: Stage,
    reply: Outlet[Any],
    function: Callable[..., Coroutine[Any, Any, None]],
    args: tuple[Any, ...],
    running: dict[anyio.CancelScope, int],
) -> None:
    """Start a response in its own task: `function(reply, *args)`.

    Its scope is registered in `running` at once, so that an interrupt before the task's first step cancels it too.
    """
    assert state.group is not None
    scope = anyio.CancelScope()
    # Before the task: an interrupt in this very step must find it.
    running[scope] = reply.epoch
    stage.counters.replies += 1
    state.group.start_soon(_run_reply, state, stage, reply, partial(function, reply, *args), scope, running)


async def _run_reply(
    state: TaskState,
    stage: Stage,
    reply: Outlet[Any],
    function: Callable[[], Coroutine[Any, Any, None]],
    scope: anyio.CancelScope,
    running: dict[anyio.CancelScope, int],
) -> None:
    task_id = state.enter_task()
    try:
        with scope:
            # It may have been interrupted between its start and its first step.
            if not reply.stale:
                await run_cancellable(function(), scope, state.cancel_check(scope))
    except Unwind:
        pass
    except CancellationIgnored:
        state.on_ignored_cancellation(stage, None)
    # A cancellation that is neither an interrupt nor the end of the session came in from outside, for example from an
    # asyncio task that was awaited. It is a failure and not silence.
    except anyio.get_cancelled_exc_class() as error:
        if state.is_cancelled_in(scope):
            raise
        state.run.fail(stage, cancelled_from_outside(stage, error))
    # The loop is gone and finalises what is left. To report this would use a session that is over.
    except GeneratorExit:
        raise
    except BaseException as error:
        with suppress(Unwind):
            state.run.failed(stage, error)
    finally:
        state.leave_task(task_id)
        del running[scope]
        stage.counters.replies -= 1
        # The end of the stage waits for its replies, so that the last answer is complete.
        if stage.replies_done is not None and not stage.counters.replies:
            stage.replies_done.set()
