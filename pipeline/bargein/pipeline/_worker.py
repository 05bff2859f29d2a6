"""A worker thread for a processor that blocks."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import current_token

from ._deadline import wait_at_most
from ._options import check_options

__all__ = ["Worker", "at_work", "set_guard"]

T = TypeVar("T")

EXIT_SECONDS = 5.0
"""Maximum time that the end of the program waits for calls that still run, in seconds. A call of a native library that
was cancelled usually takes less. One that never returns must not keep the program from ending."""
_guard: Callable[[], AbstractContextManager[None]] = nullcontext


class _RunningCalls:
    """The calls of all workers, so that the program ends after them.

    Python ends a thread that returns from native code after the interpreter has ended, by unwinding its stack. Where
    that meets C++ code that may not be unwound, the process aborts: CTranslate2 4.8 does, in the middle of a
    transcription.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._exiting = False

    def begin(self) -> bool:
        """Count a call. Return whether it may run."""
        with self._changed:
            if not self._exiting:
                self._count += 1
            return not self._exiting

    def end(self) -> None:
        """Count the end of a call."""
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def exit(self) -> None:
        """Let no further call run, and wait for those that run."""
        with self._changed:
            self._exiting = True
            self._changed.wait_for(lambda: not self._count, EXIT_SECONDS)


_running = _RunningCalls()
atexit.register(_running.exit)


def at_work() -> AbstractContextManager[None]:
    """Return a context to enter in the event loop while a thread works for it.

    It does nothing in production. Under a virtual clock it keeps the clock from jumping ahead of the thread.
    """
    return _guard()


def set_guard(guard: Callable[[], AbstractContextManager[None]]) -> None:
    """Set what `at_work` returns. Only the test kit's clock calls this."""
    global _guard
    _guard = guard


class Worker:
    """A thread that runs one call at a time, in order.

    The thread is a daemon: a call that never returns keeps neither the session nor the program from ending. The program
    waits for a running call for up to five seconds. All calls run in one copy of the context variables, taken when the
    worker is made.

    Args:
        name: The name of the thread, for debuggers.
    """

    @check_options
    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], anyio.Event, list[Any]] | None] = SimpleQueue()
        loop: Any = current_token().native_token
        # Posting does not wait for the loop to answer: a thread that did would hang with a loop that has stopped.
        self._post: Callable[[Callable[[], Any]], Any] = (
            getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        )
        self._ended = anyio.Event()
        # So that log contexts and the like are those of the place where the worker was made, for all calls.
        self._context = copy_context()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._started = False

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function in the thread, and return its result or raise its exception.

        When the call is cancelled, the thread is left to finish on its own.

        Args:
            function: What to run, without arguments.
        """
        done = anyio.Event()
        # A list that the thread fills, and an event. A future of a backend would tie this to that backend.
        outcome: list[Any] = []
        self._put((function, done, outcome))
        # Real time passes in the thread. A virtual clock that saw only waiting tasks would jump over it.
        with at_work():
            await done.wait()
        value, error = outcome
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def dismiss(self) -> None:
        """Let the thread end after the calls that it has, and do not wait for it."""
        if self._started:
            self._calls.put(None)
        else:
            self._ended.set()

    async def close(self) -> None:
        """Let the thread end after the calls that it has, and wait for it."""
        self.dismiss()
        with at_work():
            await self._ended.wait()

    async def finish(self, last: Callable[[], object] | None, seconds: float) -> bool:
        """Run a last function in the thread, let the thread end, and wait for it within a bound.

        Args:
            last: The last call, or None. Its exception is raised.
            seconds: How long to wait, counting the time in which the event loop runs. `math.inf` for no bound.

        Returns:
            Whether the thread has ended.
        """
        outcome: list[Any] = []
        if last is not None:
            self._put((last, anyio.Event(), outcome))
        self.dismiss()
        with at_work():
            ended = await wait_at_most(self._ended.wait, seconds)
        if outcome and outcome[1] is not None:
            raise outcome[1]
        return ended

    def _put(self, call: tuple[Callable[[], Any], anyio.Event, list[Any]]) -> None:
        """Queue a call. The first one starts the thread, so that a worker that is never used costs none."""
        self._calls.put(call)
        if not self._started:
            self._started = True
            self._thread.start()

    def _serve(self) -> None:
        while self._serve_next():
            pass
        self._notify(self._ended)

    def _serve_next(self) -> bool:
        """Wait for a call and run it. Return whether to go on.

        This is a separate function so that no frame holds the last call while the thread waits for the next one. What
        the call's function refers to, such as a loaded model, would otherwise live on until the interpreter exits, when
        some native libraries abort the process if they are destroyed.
        """
        call = self._calls.get()
        if call is None or not _running.begin():
            return False
        try:
            return self._run(*call)
        finally:
            del call
            _running.end()

    def _run(self, function: Callable[[], Any], done: anyio.Event, outcome: list[Any]) -> bool:
        try:
            outcome[:] = (self._context.run(function), None)
        # Whatever it is, it belongs to the caller. A thread that dies of it would leave the caller waiting for ever.
        except BaseException as error:
            outcome[:] = (None, error)
        return self._notify(done)

    def _notify(self, event: anyio.Event) -> bool:
        try:
            self._post(event.set)
        except RuntimeError:  # the event loop is gone, so no task is waiting
            return False
        return True
