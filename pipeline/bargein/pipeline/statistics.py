"""Statistics of a session: frozen snapshots, and the hops that an observer sees."""

from __future__ import annotations

from typing import Any

import msgspec

from .frames import Frame

__all__ = ["Counters", "Hop", "ProcessorStatistics", "SessionStatistics"]


class ProcessorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one processor, so far."""

    name: str
    """The processor's name in the graph."""
    frames_in: int
    """Frames delivered to the processor."""
    frames_out: int
    """Frames that the processor emitted, without the stale ones."""
    stale_dropped: int
    """Frames dropped because an interrupt had expired them, on their way in or out."""
    overflow_dropped: int
    """Frames dropped because the inbox was full, the oldest first."""
    late_dropped: int
    """Frames dropped because they came after the processor had ended."""
    error_dropped: int
    """Frames lost to an exception under `on_error="drop"`."""
    restarts: int
    """Number of restarts under `on_error="restart"`."""
    waiting: int
    """Frames in the inbox now."""
    inbox_peak: int
    """Maximum number of frames that have waited in the inbox."""
    replies: int
    """Replies that run now, started by `out.respond`."""
    busy_ms: float
    """Time spent on frames, in milliseconds, estimated from samples.

    For a processor with an inbox: from receiving a frame to asking for the next, including waits, by the session's
    clock (one frame in 16). For a fused processor: computing time (one sweep in 256).
    """
    own: Any = None
    """The processor's own counters, from its `statistics()`. Their class is the processor's."""


class SessionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of a session, so far."""

    epoch: int
    """The current epoch."""
    interrupts: int
    """Interrupts that advanced the epoch."""
    coalesced: int
    """Interrupts that did not advance the epoch, because their cause had been served already."""
    discarded: int
    """Frames that left the graph and were dropped, because there was no reader or no room."""
    tasks: int
    """Number of tasks of the session."""
    processors: dict[str, ProcessorStatistics]
    """The counters of each processor by name, in graph order."""

    @property
    def stale_dropped(self) -> int:
        """Stale frames dropped by all processors."""
        return sum(each.stale_dropped for each in self.processors.values())

    @property
    def overflow_dropped(self) -> int:
        """Frames dropped by all processors because an inbox was full."""
        return sum(each.overflow_dropped for each in self.processors.values())


class Hop(msgspec.Struct, frozen=True):
    """The delivery of one frame from one processor to the next, as an observer sees it."""

    at: float
    """Time of the delivery, in seconds of the session's clock."""
    source: str
    """Name of the processor that sent it. `in` for the application."""
    target: str
    """Name of the processor that gets it. `out` for frames that leave the graph."""
    frame: Frame
    """The frame."""


class Counters:
    """The counters behind `ProcessorStatistics`, as the hot paths write them."""

    __slots__ = (
        "busy",
        "error",
        "frames_in",
        "frames_out",
        "late",
        "overflow",
        "peak",
        "replies",
        "restarts",
        "stale",
        "timed",
        "timed_ns",
    )

    def __init__(self) -> None:
        self.frames_in = self.frames_out = self.stale = self.overflow = self.late = self.error = 0
        self.peak = self.replies = self.restarts = self.timed = self.timed_ns = 0
        self.busy = 0.0
