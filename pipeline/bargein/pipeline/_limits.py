"""The limits that hold inside of a run, and the errors for what exceeds them."""

from __future__ import annotations

from typing import Final

from .errors import EmitLimitError, FrameError
from .frames import Delivery, Frame

__all__ = [
    "CHECKPOINT_MASK",
    "EMIT_LIMIT",
    "MAX_UPSTREAM",
    "SHORT_SLEEP_SECONDS",
    "TAKES_ROOM",
    "emit_limit_error",
    "future_epoch_error",
]

EMIT_LIMIT: Final = 100_000
"""Maximum number of frames that one sweep may bring to one inbox. More are taken for an endless loop."""

CHECKPOINT_MASK: Final = 15
"""Bit mask: one in 16 receives or sends that did not wait gives the other tasks a turn.

A checkpoint costs several times as much as handing over a frame, so one at each frame would dominate the hop.
"""

MAX_UPSTREAM: Final = 256
"""Maximum number of upstream frames that wait in one inbox. They never wait for room: the oldest is dropped."""

SHORT_SLEEP_SECONDS: Final = 0.25
"""Sleeps shorter than this usually run to completion, so cancelling them is the rare path."""

TAKES_ROOM: Final = (Delivery.STREAM, Delivery.EVENT)
"""The deliveries that wait for room in a full inbox. An interrupt must not wait, nor what travels upstream."""


def emit_limit_error(question: str = "does a loop in process() never end?") -> EmitLimitError:
    """Return the error for a processor that does not stop emitting."""
    return EmitLimitError(f"one frame caused more than {EMIT_LIMIT:,} others; {question}")


def future_epoch_error(frame: Frame, number: int) -> FrameError:
    """Return the error for a frame whose epoch has not begun, so that it would outlive interrupts to come."""
    return FrameError(
        f"a {type(frame).__name__} belongs to epoch {frame.epoch}, but the session is in epoch {number}; "
        "a reply takes the epoch in which it begins: use out.reply()"
    )
