"""Bounded cancellation: await a coroutine, and abandon it when it ignores being cancelled.

Coroutines are driven by hand here. This relies on the coroutine protocol of PEP 492 (`send`, `throw`, `close`), which
is public, and on CPython's reference counts (`ctypes.pythonapi.Py_IncRef`), which keep an abandoned coroutine from ever
being finalised.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from anyio import CancelScope

from ._backend import close_scopes

__all__ = ["MAX_AWAITS_AFTER_CANCEL", "CancellationIgnored", "run_cancellable"]

T = TypeVar("T")

MAX_AWAITS_AFTER_CANCEL = 1000
"""How many more times a cancelled coroutine may await before it is abandoned. A clean-up needs a handful."""


class CancellationIgnored(BaseException):
    """A coroutine swallowed its cancellation again and again, and was abandoned.

    It is not an `Exception`, so that the processor that it leaves does not catch it by accident.
    """


class run_cancellable(Generic[T]):  # noqa: N801 - awaited like a function
    """Await a coroutine that may ignore its cancellation: `await run_cancellable(coroutine, scope, is_cancelled)`.

    Structured concurrency waits for a cancelled task without a time limit. One `except BaseException: pass` around
    an await in a loop would therefore keep a call open for ever, using a whole processor core.

    Args:
        coroutine: The coroutine to await.
        scope: A cancel scope that the running task is in, with nothing entered inside of it yet.
        is_cancelled: Returns whether the coroutine should be ending. Called at each of its awaits.

    Raises:
        CancellationIgnored: `is_cancelled()` was true and `MAX_AWAITS_AFTER_CANCEL` more awaits did not end the
            coroutine.
    """

    __slots__ = ("_coroutine", "_is_cancelled", "_scope")

    def __init__(self, coroutine: Coroutine[Any, Any, T], scope: CancelScope, is_cancelled: Callable[[], bool]) -> None:
        self._coroutine = coroutine
        self._scope = scope
        self._is_cancelled = is_cancelled

    def __await__(self) -> Generator[Any, Any, T]:
        # This does what `yield from` does (PEP 380) and counts the awaits after a cancellation. A wrapper task with a
        # timeout would cost a task for each frame; this costs one call for each await.
        coroutine = self._coroutine
        try:
            trap = coroutine.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        left = MAX_AWAITS_AFTER_CANCEL
        while True:
            if self._is_cancelled():
                left -= 1
                if left < 0:
                    self._abandon()
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
                return done.value  # type: ignore[no-any-return]

    def _abandon(self) -> None:
        try:
            self._coroutine.close()
        except RuntimeError:
            # It swallowed even GeneratorExit. Keep one reference for ever, so that it is never finalised: outside of
            # the event loop its next await would raise at once, be swallowed, and loop for ever in the middle of a
            # garbage collection.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._coroutine))
            close_scopes(self._scope)
