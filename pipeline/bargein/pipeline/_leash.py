"""Driving a processor's coroutine, and letting go of it when it will not be cancelled."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from anyio import CancelScope

from ._host import close_scopes

__all__ = ["CancellationIgnored", "run_cancellable"]

PATIENCE = 1000
"""How many more times a cancelled coroutine may await before it is let go: a clean-up needs a handful."""


class CancellationIgnored(BaseException):
    """A coroutine swallowed its cancellation again and again, and was let go.

    Not an `Exception`: the processor it leaves must not catch it by accident.
    """


class run_cancellable:  # noqa: N801 - awaited like a function
    """Await a coroutine that may misbehave: `await run_cancellable(coroutine, scope, cancelled)`, inside of `scope`.

    Structured concurrency waits for a cancelled task for as long as it takes, so one `except BaseException: pass`
    around an await would keep a call open for ever, and spin. Each step of the coroutine goes through here; once
    `cancelled()` is true and `PATIENCE` more steps have not ended it, it is closed and `CancellationIgnored` raised in its
    place. Otherwise this is what `yield from` does, and a counter.
    """

    __slots__ = ("_cancelled", "_coroutine", "_scope")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], scope: CancelScope, cancelled: Callable[[], bool]) -> None:
        self._coroutine = coroutine
        self._scope = scope
        self._cancelled = cancelled

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        try:
            trap = coroutine.send(None)
        except StopIteration as done:
            return done.value
        left = PATIENCE
        while True:
            if self._cancelled():
                left -= 1
                if left < 0:
                    self._let_go()
                    raise CancellationIgnored
            try:
                value = yield trap
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                step: Callable[[Any], Any] = coroutine.throw
                value = error
            else:
                step = coroutine.send
            try:
                trap = step(value)
            except StopIteration as done:
                return done.value

    def _let_go(self) -> None:
        try:
            self._coroutine.close()
        except RuntimeError:
            # It swallowed even that. Never finalise it: outside the loop its next await would raise at once, be
            # swallowed, and spin for ever in the middle of a garbage collection.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._coroutine))
            close_scopes(self._scope)
