"""Virtual time: a ten-minute conversation runs in a moment, and twice the same."""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

import anyio
import trio
from trio.testing import MockClock

from bargein.pipeline._backend import on_trio
from bargein.pipeline._worker import set_guard

__all__ = ["VirtualLoop", "hold_clock", "run_virtual", "stand_still", "virtual_asyncio", "virtual_trio"]

T = TypeVar("T")
Args = TypeVarTuple("Args")

HOLD_SECONDS = 2.0
"""How long a held clock waits for the real world, in real seconds, before it jumps after all. Without this bound, a
thread that never returns would stop the time, and with it every bound of a test."""


def virtual_trio() -> tuple[str, dict[str, Any]]:
    """Return an AnyIO backend for one test: trio on a clock that jumps to the next deadline when all tasks wait.

    Make a new one for each test::

        @pytest.fixture
        def anyio_backend():
            return virtual_trio()

    A test that deadlocks under such a clock may use a whole processor core for ever: give every test a timeout.
    """
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def virtual_asyncio() -> tuple[str, dict[str, Any]]:
    """Return an AnyIO backend for one test: asyncio on a clock that jumps, for code that runs on asyncio only."""
    return "asyncio", {"loop_factory": VirtualLoop}


def run_virtual(function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
    """Run an async function in virtual time on trio. The clock starts at zero.

    Args:
        function: The async function.
        args: Its arguments.

    Returns:
        What the function returns.
    """
    name, options = virtual_trio()
    return anyio.run(function, *args, backend=name, backend_options=options)


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that advances the time when no file is ready, and does not wait."""

    now = 0.0
    held = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # nothing is due: only the real world can continue
            return super().select(None)
        if self.held and (ready := super().select(min(timeout, HOLD_SECONDS))):
            return ready
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time. It starts at zero and jumps to the next deadline when nothing is ready."""

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._virtual.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads of `run_in_executor` to end.

        Since Python 3.12 `asyncio.run` bounds this wait. Virtual time would jump to the bound before a thread can end,
        and a `RuntimeWarning` would say so; therefore the clock is held meanwhile.

        Args:
            timeout: Maximum wait in virtual seconds; None for no bound. Ignored in Python 3.11, which has none.
        """
        self._virtual.held += 1
        try:
            if sys.version_info >= (3, 12):
                await super().shutdown_default_executor(timeout)
            else:
                await super().shutdown_default_executor()
        finally:
            self._virtual.held -= 1


_holds: dict[MockClock, int] = {}


@contextmanager
def hold_clock() -> Iterator[None]:
    """Keep a virtual clock from jumping while the block awaits something real. It does nothing on a real clock.

    The engine uses it for its worker threads. Wrap your own `anyio.to_thread.run_sync` calls in it.
    """
    if on_trio():
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, MockClock):
            yield
            return
        _holds[clock] = _holds.get(clock, 0) + 1
        clock.autojump_threshold = HOLD_SECONDS
        try:
            yield
        finally:
            _holds[clock] -= 1
            if not _holds[clock]:
                del _holds[clock]
                clock.autojump_threshold = 0
    else:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            yield
            return
        loop._virtual.held += 1
        try:
            yield
        finally:
            loop._virtual.held -= 1


def stand_still(seconds: float) -> None:
    """Let virtual time pass at once, as if the event loop had stood still: a long garbage collection, a blocking call.

    Args:
        seconds: How long the loop stands still, in virtual seconds.
    """
    if on_trio():
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock), "stand_still() needs virtual time"
        clock.jump(seconds)
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "stand_still() needs virtual time"
        loop._virtual.now += seconds


set_guard(hold_clock)
