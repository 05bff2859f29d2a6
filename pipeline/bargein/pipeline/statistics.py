"""What a session can tell about itself: frozen snapshots, and the hops an observer sees."""

from __future__ import annotations

from typing import Any

import msgspec

from .frames import Frame

__all__ = ["Counters", "Hop", "ProcessorStatistics", "SessionStatistics"]


class ProcessorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One processor, so far."""

    name: str
    """Its name in the graph."""
    frames_in: int
    """Frames delivered to it."""
    frames_out: int
    """Frames it emitted, the stale ones not counted."""
    stale_dropped: int
    """Frames dropped because an interrupt had expired them: before it saw them, or after it emitted them."""
    overflow_dropped: int
    """Frames dropped, the oldest first, because its inbox was full."""
    late_dropped: int
    """Frames dropped because they came after it had ended."""
    error_dropped: int
    """Frames lost to an exception under `on_error="drop"`."""
    restarts: int
    """How often it was started anew under `on_error="restart"`."""
    waiting: int
    """Frames in its inbox now."""
    inbox_peak: int
    """The most frames that ever waited in its inbox."""
    replies: int
    """Tasks running now that `out.respond` started."""
    busy_ms: float
    """Time spent on frames, estimated from samples. For a processor with an inbox: from taking a frame to asking for
    the next, waits included, by the session's clock (one frame in 16). For a fused one: computing time (one sweep in
    256)."""
    own: Any = None
    """What it counts itself: what its `statistics()` gives."""


class SessionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A whole session, so far."""

    epoch: int
    """The current epoch."""
    interrupts: int
    """Interrupts that advanced it."""
    coalesced: int
    """Interrupts that did not, because their cause had been served already."""
    discarded: int
    """Frames that left the graph with nobody to read them, or that the unread output had no room for."""
    tasks: int
    """Tasks the session runs."""
    processors: dict[str, ProcessorStatistics]
    """Each processor by name, in graph order."""

    @property
    def stale_dropped(self) -> int:
        """Stale frames dropped anywhere."""
        return sum(each.stale_dropped for each in self.processors.values())

    @property
    def overflow_dropped(self) -> int:
        """Frames dropped for want of room anywhere."""
        return sum(each.overflow_dropped for each in self.processors.values())


class Hop(msgspec.Struct, frozen=True):
    """One frame on its way from one processor to the next, as an observer sees it."""

    at: float
    """When, in seconds of the session's clock."""
    source: str
    """Who gave it; `in` for what the application sent."""
    target: str
    """Who gets it; `out` for what leaves the graph."""
    frame: Frame
    """The frame itself."""


class Counters:
    """The numbers behind `ProcessorStatistics`, as the hot paths write them."""

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
