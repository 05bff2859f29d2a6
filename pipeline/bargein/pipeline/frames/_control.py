"""Frames that control a session: interrupts and holds, playback reports, failures, the end."""

from __future__ import annotations

from typing import ClassVar

from ._base import LIVE, Delivery, Frame, check_text, payload

__all__ = ["End", "Failure", "Hold", "Interrupt", "Played", "Resume"]


class Played(Frame, frozen=True, kw_only=True):
    """How far an item of a reply has been played. The sink sends it upstream, to the keeper of the conversation."""

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM
    missing_giver: ClassVar[str] = "Pacer(), or end with a sink that reports what it plays"

    response_id: str
    """The id of the response that is playing."""
    item_id: str = ""
    """The id of the item of that response."""
    ms: float
    """Milliseconds of the item that left the sink, counted from its start."""
    done: bool = False
    """Whether the item will not play any further."""
    gaps: tuple[tuple[float, float], ...] = ()
    """Stretches of the item, in milliseconds from its start, that were dropped on the way to the listener. Each one is
    reported once."""


class Hold(Frame, frozen=True, kw_only=True):
    """Fall silent now and keep what is left to play: the user may be barging in."""

    delivery: ClassVar[Delivery] = Delivery.URGENT


class Resume(Frame, frozen=True, kw_only=True):
    """Continue where the last `Hold` stopped: the user only coughed."""

    delivery: ClassVar[Delivery] = Delivery.URGENT


class Interrupt(Frame, frozen=True):
    """The user barged in: everything that belongs to an older epoch is stale.

    A processor yields `Interrupt()`, and the engine numbers it: `epoch` is then the epoch that begins. To interrupt one
    certain response, give the interrupt that response's epoch or send it through that response's outlet. If the
    response is over by then, the interrupt does nothing.

    Args:
        reason: Why, for logs and timelines.
        pts: Media time in nanoseconds. Default 0.
        epoch: The epoch to interrupt. Default: the current one.
    """

    delivery: ClassVar[Delivery] = Delivery.URGENT

    reason: str = ""
    """Why, for logs and timelines."""


class Failure(Frame, frozen=True):
    """Something went wrong and the session continues.

    Args:
        message: What happened and what to do about it, in a sentence.
        processor: The name of the processor in which it happened.
        error: The exception, when there was one.
        fatal: Whether the part that failed has given up. Default False.
        pts: Media time in nanoseconds. Default 0.

    Raises:
        FrameError: `message` is missing or not a string.
    """

    delivery: ClassVar[Delivery] = Delivery.UPSTREAM

    message: str = payload()
    """What happened and what to do about it, in a sentence."""
    processor: str = ""
    """The name of the processor in which it happened."""
    error: BaseException | None = None
    """The exception, when there was one."""
    fatal: bool = False
    """Whether the part that failed has given up."""

    def __post_init__(self) -> None:
        if type(self.message) is not str or self.epoch != LIVE:
            check_text(self, "message")


class End(Frame, frozen=True):
    """Nothing more comes.

    A processor takes it to emit what it still holds. The engine passes it on in any case.

    Args:
        reason: Why, for logs.
        pts: Media time in nanoseconds. Default 0.
    """

    delivery: ClassVar[Delivery] = Delivery.LAST

    reason: str = ""
    """Why, for logs."""
