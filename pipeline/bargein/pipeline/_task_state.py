"""What the tasks of one session share: whether they are being cancelled, and which of them do not stop."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import anyio
import anyio.abc

from ._run import Run
from ._stage import Stage, Unwind
from .errors import SessionError, StuckError
from .frames import Frame

__all__ = ["TaskState", "cancelled_from_outside", "ignored_cancellation"]


class TaskState:
    """The state that the runners, the replies and `Tasks` share."""

    def __init__(self, run: Run, cancel_seconds: float) -> None:
        self.run = run
        self.cancel_seconds = cancel_seconds
        self.cancelling = False
        """Whether the session cancels its tasks."""
        self.group: anyio.abc.TaskGroup | None = None
        """The group of the tasks, while it is open."""
        self.unstoppable: list[str] = []
        """The names of processors that ignored their cancellation."""
        self.ids: set[int] = set()
        """The ids of the running tasks."""
        self.count = 0
        """The number of running tasks, the host included."""

    def enter_task(self) -> int:
        """Count the running task, and return its id for `leave_task`."""
        self.count += 1
        self.ids.add(task_id := anyio.get_current_task().id)
        return task_id

    def leave_task(self, task_id: int) -> None:
        """Count the running task no longer."""
        self.count -= 1
        self.ids.discard(task_id)

    def is_cancelled(self) -> bool:
        """Return whether all tasks are being cancelled: by the session, at its end, or by the event loop."""
        return self.cancelling or (self.group is not None and self.group.cancel_scope.cancel_called)

    def is_cancelled_in(self, scope: anyio.CancelScope) -> bool:
        """Return whether the session cancels all tasks, or an interrupt the work inside of `scope`."""
        return scope.cancel_called or self.is_cancelled()

    def cancel_check(self, scope: anyio.CancelScope) -> partial[bool]:
        """Return `is_cancelled_in` for one scope, as `run_cancellable` wants it."""
        return partial(self.is_cancelled_in, scope)

    def on_ignored_cancellation(self, stage: Stage, frame: Frame | None) -> None:
        """Handle that a processor ignored its cancellation and was abandoned.

        If the session cancelled it, the session names it at its end. If an interrupt did, it counts as an exception.
        """
        # At the end of a session nobody is left who could handle an exception.
        if self.cancelling:
            self.unstoppable.append(stage.name)
            return
        with suppress(Unwind):
            self.run.failed(stage, ignored_cancellation(stage), frame)


def ignored_cancellation(stage: Stage) -> StuckError:
    """Return the error for a processor that swallows its cancellation."""
    return StuckError(
        f"{stage.name!r} swallowed its cancellation again and again and was abandoned; "
        "let the backend's cancellation exception pass, or re-raise it",
        (stage.name,),
    )


def cancelled_from_outside(stage: Stage, error: BaseException) -> SessionError:
    """Return the failure for a cancellation that the session did not ask for.

    It comes from awaiting an asyncio task or future that other code has cancelled.
    """
    failure = SessionError(
        f"{stage.name!r} was cancelled by something other than its session: it awaited a task or a future that was "
        "cancelled. Catch that where it is awaited"
    )
    # The traceback of the cancellation shows which await it was.
    failure.__cause__ = error
    return failure
