"""The end of a test that hangs, so that it fails with the place where it waits, and the next test runs.

pytest-timeout has two ways to end it. Its thread ends the whole process, and pytest-xdist, whose worker that is, hangs
or fails itself. Its signal raises an exception wherever the main thread is, which may be inside an event loop: a test
that waits on trio or uvloop, or spins through checkpoints, does not end by it. So an async test is cancelled here, from
inside its loop. What blocks the loop itself, and any other test, gets the exception.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
import traceback
from collections.abc import Awaitable, Callable, Generator
from types import FrameType
from typing import Any

import anyio
import pytest
import sniffio
import trio

__all__ = ["pytest_pyfunc_call", "pytest_timeout_cancel_timer", "pytest_timeout_set_timer"]

PATIENCE = 5.0
"""How long a cancelled test may take to end, in seconds, before the exception is raised in it."""


class Watch:
    """What is to be done when the time of the running test is over."""

    cancel: Callable[[], object] | None = None
    """Cancels the test in its event loop; `None` where it runs in none."""
    over = False
    """Whether the time was over."""


watch = Watch()


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Set the timer of a test; `None` leaves that to pytest-timeout, where there is no such signal."""
    if not hasattr(signal, "SIGALRM"):
        return None

    def ring(number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        cancel, watch.cancel, watch.over = watch.cancel, None, True
        if cancel is None:
            pytest.fail(f"it took more than {settings.timeout:g} s")
        cancel()

    watch.cancel, watch.over = None, False
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, PATIENCE)
    return True


def pytest_timeout_cancel_timer(item: pytest.Item) -> bool | None:
    """Stop the timer."""
    if not hasattr(signal, "SIGALRM"):
        return None
    signal.setitimer(signal.ITIMER_REAL, 0)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Let the timer cancel an async test."""
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = _cancellable(pyfuncitem.obj)
    return (yield)


def _cancellable(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(**values: Any) -> None:
        waited = ""
        with anyio.CancelScope() as scope:
            watch.cancel = _from_a_signal(scope)
            try:
                await test(**values)
            except BaseException:
                waited = traceback.format_exc()
                raise
            finally:
                watch.cancel = None
        if watch.over:
            where = f", and waited here:\n{waited}" if waited else ""
            pytest.fail(f"it took too long{where}", pytrace=False)

    return run


def _from_a_signal(scope: anyio.CancelScope) -> Callable[[], object]:
    """Return what cancels the scope from a signal's handler, which may interrupt the event loop anywhere."""
    if sniffio.current_async_library() == "trio":
        return functools.partial(trio.lowlevel.current_trio_token().run_sync_soon, scope.cancel)
    return functools.partial(asyncio.get_running_loop().call_soon_threadsafe, scope.cancel)
