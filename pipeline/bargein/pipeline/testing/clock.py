"""Virtual time: a ten-minute conversation in a moment, and twice the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import trio
from trio.testing import MockClock

from bargein.pipeline._host import on_trio
from bargein.pipeline._worker import set_guard

__all__ = ["VirtualLoop", "hold_clock", "run_virtual", "virtual_asyncio", "virtual_trio"]

T = TypeVar("T")

PATIENCE = 2.0
"""For how many real seconds a held clock waits for the world before it jumps after all, so that a thread that never
returns cannot stop the time, and with it every bound."""


def virtual_trio() -> tuple[str, dict[str, Any]]:
    """An AnyIO backend for one test: trio on a clock that jumps to the next deadline when nothing else can happen.

    Make a new one for each test::

        @pytest.fixture
        def anyio_backend():
            return virtual_trio()

    A test that deadlocks under such a clock may spin: give every test a timeout.
    """
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def virtual_asyncio() -> tuple[str, dict[str, Any]]:
    """The same for asyncio: a loop whose time jumps. For parts that run on asyncio only."""
    return "asyncio", {"loop_factory": VirtualLoop}


def run_virtual(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run an async function in virtual time, and return what it returns. The clock starts at zero."""
    name, options = virtual_trio()
    return anyio.run(function, *args, backend=name, backend_options=options)


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that, when no file is ready, moves the time instead of waiting."""

    now = 0.0
    held = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # nothing is due: only the real world can go on
            return super().select(None)
        if self.held and (ready := super().select(min(timeout, PATIENCE))):
            return ready
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time: it starts at zero and jumps to the next deadline when nothing is ready."""

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual.now


_holds: dict[MockClock, int] = {}


@contextmanager
def hold_clock() -> Iterator[None]:
    """Keep a virtual clock from jumping while something real is awaited. Does nothing on a real clock.

    The engine's worker threads are held by this already; wrap your own `anyio.to_thread.run_sync` calls in it.
    """
    if on_trio():
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, MockClock):
            yield
            return
        _holds[clock] = _holds.get(clock, 0) + 1
        clock.autojump_threshold = PATIENCE
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


set_guard(hold_clock)
