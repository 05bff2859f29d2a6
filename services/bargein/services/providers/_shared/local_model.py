"""The base of models on this machine: loaded once, shared by sessions, and run in worker threads."""

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
    """The load of a local model."""

    sessions: int
    """Sessions that have it open now."""
    working: int
    """Calls that run now."""
    waiting: int
    """Calls that wait for one of those to end."""
    waiting_peak: int
    """The most calls that ever waited at once."""


class LocalModel:
    """A part of a cascade with a model in this process.

    It is a context manager, which several sessions of one event loop can enter at once. The first to enter loads the
    model, the last to leave drops it. A call that is cancelled continues in its thread, and the next call of that
    thread waits for it.

    Args:
        concurrency: How many calls run at once, each in its own thread; further calls wait. 1 or more.
    """

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(
                f"{type(self).__name__}(concurrency={concurrency}): expected how many calls run at once, 1 or more"
            )
        self._concurrency = concurrency
        self._users = 0
        self._load_lock: anyio.Lock | None = None
        self._workers: list[Worker] = []
        self._free: list[Worker] = []
        self._slots: anyio.Semaphore | None = None
        self._model: Any = None
        self._waiting = self._waiting_peak = 0

    def statistics(self) -> LocalStatistics:
        """Return the present load, over all sessions that share the model."""
        return LocalStatistics(
            sessions=self._users,
            working=len(self._workers) - len(self._free),
            waiting=self._waiting,
            waiting_peak=self._waiting_peak,
        )

    def _load(self) -> Any:
        """Return the loaded model. Runs in a thread."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._load_lock = self._load_lock or anyio.Lock()
        self._users += 1
        try:
            async with self._load_lock:
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
        self._users -= 1
        if not self._users:
            _dismiss(self._workers)
            self._workers, self._free, self._slots, self._load_lock, self._model = [], [], None, None, None

    async def _call(self, function: Callable[[], T]) -> T:
        """Run a function in a thread. Raises what it raises, and `RuntimeError` outside the context manager."""
        self._get_model()
        assert self._slots is not None
        slots, free = self._slots, self._free
        try:
            slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait_for(slots)
        worker = free.pop(0)  # the one that has been idle for longest
        try:
            return await worker.call(function)
        finally:
            free.append(worker)
            slots.release()

    async def _wait_for(self, slots: anyio.Semaphore) -> None:
        self._waiting += 1
        self._waiting_peak = max(self._waiting_peak, self._waiting)
        try:
            await slots.acquire()
        finally:
            self._waiting -= 1

    def _get_model(self) -> Any:
        """Return the model. Raises `RuntimeError` outside the context manager."""
        if self._model is None:
            raise RuntimeError(f"{type(self).__name__} is not open; use it in 'async with', as a cascade does")
        return self._model


def _dismiss(workers: list[Worker]) -> None:
    for worker in workers:
        worker.dismiss()
