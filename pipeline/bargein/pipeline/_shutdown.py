"""The end of a session: draining, cancelling, and what is said when neither succeeds in time."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from ._deadline import SLICES, wait_at_most
from ._run import Run
from ._tasks import Tasks
from .errors import StuckError
from .frames import End

__all__ = ["Shutdown", "add_stuck_note", "consists_of"]


class Shutdown:
    """Ends a session, gracefully or by cancelling, within a bound.

    Args:
        run: The run of the session.
        cancel_seconds: Bound of `stop`.
        drain_seconds: Bound of `drain`.
        release: Called once when the session has stopped completely, so that its processors may be used again.
    """

    def __init__(self, run: Run, cancel_seconds: float, drain_seconds: float, release: Callable[[], None]) -> None:
        self.tasks = Tasks(run, cancel_seconds, drain_seconds, self._on_tasks_done)
        self.finished = anyio.Event()
        """Set when the graph has ended."""
        self.over = anyio.Event()
        """Set when everything has stopped."""
        self._run = run
        self._cancel_seconds = cancel_seconds
        self._drain_seconds = drain_seconds
        self._release = release
        self._drain_scope: anyio.CancelScope | None = None
        self._stopping: anyio.Event | None = None  # there once `stop` has been called, set when it is done
        self._late = False  # `stop` gave up waiting

    def on_failure(self) -> None:
        """Cancel the tasks, because a processor has failed."""
        self.tasks.cancel()
        if self._drain_scope is not None:
            self._drain_scope.cancel()
        self._set_finished()

    def on_finished(self) -> None:
        """End the tasks, because the graph has ended."""
        self.tasks.finish()
        self._set_finished()

    async def wait_over(self) -> bool:
        """Wait until everything has stopped, within the bound of draining. Returns whether that came true."""
        return await wait_at_most(self.over.wait, self._drain_seconds)

    async def drain(self) -> BaseException | None:
        """Wait for everything to drain, within the bound.

        An exception is returned and not raised, because the session must still be stopped.
        """
        try:
            with anyio.CancelScope() as self._drain_scope:
                drained = await self.wait_over()
        except BaseException as error:
            return error
        if self._run.failure is not None or drained:
            return None
        running = self.tasks.running
        return StuckError(
            f"{_listed(running)} did not drain within {self._drain_seconds:g} s after the end and was cancelled; "
            "end it yourself, or allow more: session(drain_seconds=...)",
            running,
        )

    async def stop(self) -> StuckError | None:
        """Cancel what still runs and wait for it within the bound, even when the caller is being cancelled.

        Returns:
            The error that names the processors that did not stop. Only the first caller gets it. The others wait until
            it is known, and get None.
        """
        if self._stopping is not None:
            with anyio.CancelScope(shield=True):
                await self._stopping.wait()
            return None
        self._stopping = anyio.Event()
        tasks = self.tasks
        try:
            if tasks.has_tasks:
                tasks.cancel()
                with anyio.CancelScope(shield=True):
                    half = self._cancel_seconds / 2
                    # Contexts are left after the tasks have ended; they get no more than half of the bound.
                    if not await wait_at_most(tasks.done.wait, half, SLICES // 2):
                        tasks.cancel_contexts()
                        await wait_at_most(tasks.done.wait, half, SLICES // 2)
        finally:  # asyncio's own Task.cancel() passes through a shield
            self.over.set()
            self.finished.set()
            self._stopping.set()
        stuck = tuple(dict.fromkeys([*tasks.unstoppable, *tasks.running]))
        if not stuck:
            self._release()
            return None
        self._late = True
        return StuckError(
            f"{_listed(stuck)} did not stop within {self._cancel_seconds:g} s of being cancelled: it swallows "
            "cancellation or waits in a call that cannot be cancelled. Let the cancellation exception pass; "
            "run blocking calls in a processor with blocking = True",
            stuck,
        )

    def _on_tasks_done(self) -> None:
        """All tasks have ended, and the graph with them: the reader need not wait for more."""
        self._run.output._put_end(End(), deliver=False)
        self.finished.set()
        self.over.set()
        if self._late and not self.tasks.unstoppable:
            self._release()  # a processor that was late has stopped after all

    def _set_finished(self) -> None:
        self.finished.set()
        if not self.tasks.has_tasks:  # a graph with tasks is over when they are, one without at once
            self.over.set()


def add_stuck_note(error: BaseException, stuck: StuckError | None) -> None:
    """Add to an exception that processors did not stop, if so."""
    if stuck is not None:
        error.add_note(f"besides, {stuck}")


def consists_of(error: BaseException, failure: BaseException) -> bool:
    """Return whether an exception is the failure itself, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(consists_of(each, failure) for each in error.exceptions)
    return error is failure


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names)) or "the session"
