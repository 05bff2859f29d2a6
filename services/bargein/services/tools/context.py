"""`ToolContext`: tells a running tool about its call, and sends the tool's progress reports."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import current_token

from bargein.pipeline import Frame
from bargein.pipeline.lowlevel import check_options
from bargein.services.frames import ToolProgress

__all__ = ["Emit", "ToolContext"]

Emit = Callable[[Frame], Awaitable[None]]
"""Sends a frame about a call."""

MAX_REPORTS = 256
"""Number of reports of one call that may wait to be sent. Beyond that the oldest is dropped."""

ROUNDING = 1e-6
"""Amount by which a share may be below 0 or above 1, because sums of floats are not exact."""


class ToolContext:
    """The call that a tool runs for. To receive it, annotate a parameter of the tool with this class::

        @tool
        async def book(room: str, context: ToolContext) -> str:
            await context.progress("asking the hotel", 0.5)
            return await hotel.book(room)

    The model does not see this parameter. To call a tool yourself, as in a test, pass `ToolContext()`.

    Args:
        call_id: The id of the call.
        name: The name of the tool.
        emit: An async function that sends the tool's reports; by default they are discarded.
    """

    @check_options
    def __init__(self, call_id: str = "", name: str = "", emit: Emit | None = None) -> None:
        self.call_id = call_id
        """The id of the call."""
        self.name = name
        """The name of the tool."""
        self.interrupted = False
        """Whether the user has interrupted the agent since the call began."""
        self.cancelled = False
        """Whether the result is no longer wanted, because the tool took too long or was cancelled. A tool that runs in
        a thread should check this now and then, and stop early."""
        self.dropped_reports = 0
        """Number of reports that were dropped because they came faster than they could be sent."""
        self._emit = emit
        self._reports: deque[ToolProgress] = deque()
        self._thread = threading.get_ident()
        self._post: Callable[[Callable[[], Any]], Any] | None = None
        self._wake: anyio.Event | None = None
        self._lock: anyio.Lock | None = None
        self._closed = False

    async def progress(self, message: str = "", share: float | None = None) -> None:
        """Report progress, and wait until the report is sent.

        Args:
            message: The present activity of the tool, for people. Default: empty.
            share: Share of the work that is done, from 0 to 1; None (the default) if unknown.

        Raises:
            ValueError: `share` is not from 0 to 1.
        """
        self.report(message, share)
        await self._flush()

    def report(self, message: str = "", share: float | None = None) -> None:
        """Report progress without waiting, from sync code and from any thread.

        If code in the event loop reports without ever awaiting, its reports are sent when it has finished.

        Args:
            message: The present activity of the tool, for people. Default: empty.
            share: Share of the work that is done, from 0 to 1; None (the default) if unknown.

        Raises:
            ValueError: `share` is not from 0 to 1.
        """
        if share is not None:
            if not -ROUNDING <= share <= 1 + ROUNDING:
                raise ValueError(f"progress(share={share!r}): expected how much is done, from 0 to 1, such as 0.5")
            share = min(1.0, max(0.0, share))
        frame = ToolProgress(call_id=self.call_id, name=self.name, message=message, share=share)
        if threading.get_ident() == self._thread:
            self._put(frame)
        elif self._post is not None:
            try:
                self._post(partial(self._put, frame))
            except RuntimeError:  # the event loop has been closed
                self.dropped_reports += 1

    def __repr__(self) -> str:
        return f"<ToolContext {self.name} {self.call_id}>"

    # For the runner -----------------------------------------------------------------------------------------

    async def emit(self, frame: Frame) -> None:
        """Send a frame about the call.

        Args:
            frame: The frame.
        """
        if self._emit is not None:
            await self._emit(frame)

    def open(self) -> None:
        """Start accepting reports from other threads. Called in the event loop."""
        loop: Any = current_token().native_token
        self._post = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        self._thread = threading.get_ident()
        self._wake = anyio.Event()

    def close(self) -> None:
        """End the call. Reports that come after this are dropped."""
        self._closed = True
        if self._wake is not None:
            self._wake.set()

    async def pump(self) -> None:
        """Send reports until the call has ended."""
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
        if len(self._reports) >= MAX_REPORTS:
            self._reports.popleft()
            self.dropped_reports += 1
        self._reports.append(frame)
        if self._wake is not None:
            self._wake.set()

    async def _flush(self) -> None:
        if self._emit is None:
            return
        self._lock = self._lock or anyio.Lock()
        async with self._lock:  # one sender at a time keeps the order
            while self._reports:
                await self._emit(self._reports.popleft())
