"""What a running tool knows of its call, and how it says how far it has come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import current_token

from bargein.pipeline import Frame
from bargein.services.frames import ToolProgress

__all__ = ["Emit", "ToolContext"]

Emit = Callable[[Frame], Awaitable[None]]
"""Where the frames about a call go."""

REPORTS = 256
"""How many reports of one call may wait to be sent; past this the oldest is dropped."""

ROUNDING = 1e-6
"""By how much a sum of shares may miss its end."""


class ToolContext:
    """Given to every parameter of a tool that is annotated with it; the model knows nothing of it.

    For a call by hand, as in a test of the function: `ToolContext()`, with the `emit` that takes its reports.
    """

    def __init__(self, call: str = "", name: str = "", emit: Emit | None = None) -> None:
        self.call = call
        """The id of the call."""
        self.name = name
        """The tool's name."""
        self.interrupted = False
        """The user has interrupted the agent since the call began."""
        self.cancelled = False
        """Nobody waits for the answer any more: it took too long, or was called off. For threads, to stop early."""
        self.lost = 0
        """How many reports were dropped, because more came than could be sent."""
        self._emit = emit
        self._reports: deque[ToolProgress] = deque()
        self._thread = threading.get_ident()
        self._post: Callable[[Callable[[], Any]], Any] | None = None
        self._wake: anyio.Event | None = None
        self._lock: anyio.Lock | None = None
        self._closed = False

    async def progress(self, message: str = "", share: float | None = None) -> None:
        """Say how far it has come, and wait until that is sent; `share` is how much is done, 0 to 1.

        Raises `ValueError` for another share.
        """
        self.report(message, share)
        await self._flush()

    def report(self, message: str = "", share: float | None = None) -> None:
        """The same without waiting, from sync code and from any thread.

        What code reports that runs in the event loop and does not await is sent when it is done.
        """
        if share is not None:
            if not -ROUNDING <= share <= 1 + ROUNDING:
                raise ValueError(f"progress(share={share!r}): expected how much is done, from 0 to 1, such as 0.5")
            share = min(1.0, max(0.0, share))
        frame = ToolProgress(call_id=self.call, name=self.name, message=message, share=share)
        if threading.get_ident() == self._thread:
            self._put(frame)
        elif self._post is not None:
            try:
                self._post(partial(self._put, frame))
            except RuntimeError:  # the event loop is gone, and nobody listens
                self.lost += 1

    def __repr__(self) -> str:
        return f"<ToolContext {self.name} {self.call}>"

    # What the runner uses -----------------------------------------------------------------------------------------

    async def emit(self, frame: Frame) -> None:
        """Send a frame about the call."""
        if self._emit is not None:
            await self._emit(frame)

    def open(self) -> None:
        """Be ready for reports from other threads; in the event loop."""
        loop: Any = current_token().native_token
        self._post = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        self._thread = threading.get_ident()
        self._wake = anyio.Event()

    def close(self) -> None:
        """The call is over: what is reported from now on goes nowhere."""
        self._closed = True
        if self._wake is not None:
            self._wake.set()

    async def pump(self) -> None:
        """Send what is reported until the call is over."""
        while True:
            if self._wake is not None and not (self._closed or self._reports):
                await self._wake.wait()
                self._wake = anyio.Event()
            await self._flush()
            if self._closed and not self._reports:
                return

    def _put(self, frame: ToolProgress) -> None:
        if self._closed or self._emit is None:
            return
        if len(self._reports) >= REPORTS:
            self._reports.popleft()
            self.lost += 1
        self._reports.append(frame)
        if self._wake is not None:
            self._wake.set()

    async def _flush(self) -> None:
        if self._emit is None:
            return
        self._lock = self._lock or anyio.Lock()
        async with self._lock:  # one after the other, so that none overtakes
            while self._reports:
                await self._emit(self._reports.popleft())
