"""A worker thread of its own for a processor that blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import current_token

__all__ = ["Worker", "at_work", "set_guard"]

T = TypeVar("T")

_guard: Callable[[], AbstractContextManager[Any]] = nullcontext


def at_work() -> AbstractContextManager[Any]:
    """Return a context to enter in the event loop while a thread works for it.

    It does nothing in production. Under a virtual clock it keeps the clock from jumping ahead of the thread.
    """
    return _guard()


def set_guard(guard: Callable[[], AbstractContextManager[Any]]) -> None:
    """Set what `at_work` returns; the test kit's clock is the only caller."""
    global _guard
    _guard = guard


class Worker:
    """Runs one call at a time, in order, always in the same thread.

    The thread is a daemon: one that never returns from its call keeps neither the session nor the program.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], anyio.Event, list[Any]] | None] = SimpleQueue()
        loop: Any = current_token().native_token
        # Posting does not wait for the loop to answer: a thread that did would hang with a loop that has stopped.
        self._post: Callable[[Callable[[], Any]], Any] = (
            getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        )
        self._ended = anyio.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the thread. When cancelled, the thread is left to finish on its own."""
        done = anyio.Event()
        outcome: list[Any] = []
        self._calls.put((function, done, outcome))
        with at_work():
            await done.wait()
        value, error = outcome
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def dismiss(self) -> None:
        """Let the thread end after the calls it has, and do not wait for it."""
        self._calls.put(None)

    async def close(self) -> None:
        """Let the thread end after the call it is in, and wait for it."""
        self.dismiss()
        with at_work():
            await self._ended.wait()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            function, done, outcome = call
            try:
                outcome[:] = (function(), None)
            except BaseException as error:
                outcome[:] = (None, error)
            if not self._tell(done):
                return
        self._tell(self._ended)

    def _tell(self, event: anyio.Event) -> bool:
        try:
            self._post(event.set)
        except RuntimeError:  # the event loop is gone: nobody waits any more
            return False
        return True
