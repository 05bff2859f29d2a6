"""A part whose model works on this machine: loaded once, and used in threads of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import msgspec

from bargein.pipeline.lowlevel import Worker

__all__ = ["LocalModel", "LocalStatistics"]

T = TypeVar("T")


class LocalStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How much a model has to do."""

    sessions: int
    """Who has it open, now."""
    working: int
    """Calls at work."""
    waiting: int
    """Calls that wait for one of those to end."""
    waiting_peak: int
    """The most that ever waited."""


class LocalModel:
    """A part with a model. It is a context manager, and may be entered by several sessions of one event loop at once.

    The first that enters has the model loaded, the last that leaves lets go of it. `concurrency` calls work at once,
    and the next waits for one of them. A call that is cancelled is left to finish in its thread, where the next waits
    behind it.
    """

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(
                f"{type(self).__name__}(concurrency={concurrency}): expected how many work at once, 1 or more"
            )
        self._concurrency = concurrency
        self._entered = 0
        self._opening: anyio.Lock | None = None
        self._workers: list[Worker] = []
        self._free: list[Worker] = []
        self._slots: anyio.Semaphore | None = None
        self._model: Any = None
        self._waiting = self._peak = 0

    def statistics(self) -> LocalStatistics:
        """How much there is to do now, for all who share it."""
        working = len(self._workers) - len(self._free)
        return LocalStatistics(sessions=self._entered, working=working, waiting=self._waiting, waiting_peak=self._peak)

    def _load(self) -> Any:
        """The model. Runs in a thread."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._opening = self._opening or anyio.Lock()
        self._entered += 1
        try:
            async with self._opening:
                if self._slots is None:
                    await self._open()
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def _open(self) -> None:
        workers = [Worker(f"bargein {type(self).__name__}") for _ in range(self._concurrency)]
        try:
            self._model = await workers[0].call(self._load)
        except BaseException:
            _dismiss(workers)
            raise
        self._workers, self._free, self._slots = workers, list(workers), anyio.Semaphore(self._concurrency)

    def _leave(self) -> None:
        self._entered -= 1
        if not self._entered:
            _dismiss(self._workers)
            self._workers, self._free, self._slots, self._opening, self._model = [], [], None, None, None

    async def _call(self, function: Callable[[], T]) -> T:
        """Run it in a thread. Raises what it raises, and `RuntimeError` outside the context manager."""
        self._opened()
        assert self._slots is not None
        slots, free = self._slots, self._free
        try:
            slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._turn(slots)
        worker = free.pop(0)  # the one that has rested longest
        try:
            return await worker.call(function)
        finally:
            free.append(worker)
            slots.release()

    async def _turn(self, slots: anyio.Semaphore) -> None:
        """Wait for a call to end."""
        self._waiting += 1
        self._peak = max(self._peak, self._waiting)
        try:
            await slots.acquire()
        finally:
            self._waiting -= 1

    def _opened(self) -> Any:
        """The model. Raises `RuntimeError` outside the context manager."""
        if self._model is None:
            raise RuntimeError(f"{type(self).__name__} is not open; use it in 'async with', as a cascade does")
        return self._model


def _dismiss(workers: list[Worker]) -> None:
    for worker in workers:
        worker.dismiss()
