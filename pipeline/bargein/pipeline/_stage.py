"""The state of one node of a running graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import isgeneratorfunction
from typing import Any

import anyio

from ._epoch import Epoch
from ._inbox import Inbox
from ._plan import Node
from ._router import Router
from .errors import ContractError
from .frames import Delivery, End, Frame
from .statistics import Counters, ProcessorStatistics

__all__ = ["Deliver", "DeliveryTable", "Stage", "Unwind", "inherit"]

Deliver = Callable[[Frame], None]
"""A function that delivers one frame."""


class Unwind(Exception):  # noqa: N818 - a signal, not an error
    """The session has failed: leave the sweep. The run holds the failure itself."""


class DeliveryTable(dict[type[Frame], Deliver]):
    """A table from frame class to the function that delivers it. An entry is compiled when its class is first seen."""

    __slots__ = ("make_entry",)

    def __init__(self, make_entry: Callable[[type[Frame]], Deliver]) -> None:
        super().__init__()
        self.make_entry = make_entry

    def __missing__(self, kind: type[Frame]) -> Deliver:
        deliver = self[kind] = self.make_entry(kind)
        return deliver


class Stage:
    """A node while it runs: its counters, its inbox if it has one, and its delivery tables.

    `_delivery.connect` fills in `table`, `observed_table`, `step` and `enter`.
    """

    __slots__ = (
        "contract",
        "counters",
        "ended",
        "enter",
        "epoch",
        "inbox",
        "name",
        "node",
        "observed_step",
        "observed_table",
        "open_branches",
        "processor",
        "produces",
        "reached",
        "replies_done",
        "returned",
        "router",
        "scope",
        "step",
        "table",
        "unpaid",
        "working",
    )

    table: DeliveryTable  # for what it emits
    observed_table: DeliveryTable  # the same, with every hop shown to the observers and timed
    step: Deliver  # runs its processor on a frame
    observed_step: Deliver | None  # the same, timed; compiled when it is first needed
    enter: Deliver  # takes a frame that comes to it: into its inbox, or its step

    def __init__(self, node: Node, capacity: int | None, epoch: Epoch, overfull: list[Inbox[Any]]) -> None:
        processor = node.processor
        contract = node.contract
        self.node = node
        self.name = node.name
        self.processor: Any = processor
        self.contract = contract
        self.epoch = epoch
        self.counters = Counters()
        self.router = processor if isinstance(processor, Router) else None
        # A generator must be iterated even if it declares that it sends nothing.
        self.produces = contract is not None and (
            bool(contract.gives) or isgeneratorfunction(getattr(processor, "process", None))
        )
        self.inbox: Inbox[Any] | None = None
        if capacity is not None:
            self.inbox = Inbox(epoch, self.counters, capacity, overfull)
        self.unpaid: list[Inbox[Any]] = []  # inboxes that it overfilled without waiting for room
        self.open_branches = len(node.before)  # branches above that have not ended
        self.ended = False
        self.returned = False  # a source that has ended before the stages above it
        self.scope: anyio.CancelScope | None = None  # around its whole task
        self.working: tuple[int, anyio.CancelScope] | None = None  # epoch and scope of the work on an expiring frame
        self.replies_done: anyio.Event | None = None
        self.reached: dict[type[Frame], tuple[list[Stage], list[Stage]]] = {}  # see Interrupts
        self.observed_step = None

    @property
    def takes_end(self) -> bool:
        """Whether it takes `End`, to emit what it still holds."""
        return self.contract is not None and self.contract.accepts(End)

    @property
    def blocking(self) -> bool:
        """Whether it runs in its own worker thread."""
        return bool(self.processor.blocking)

    def outputs(self, frame: Frame) -> Iterable[Any]:
        """Return the result of its `process` for a frame. What a sink returns is ignored."""
        outputs = self.processor.process(frame)
        return outputs if self.produces else ()

    def stop(self) -> None:
        """Stop delivering its frames."""
        self.ended = True
        self.table.clear()  # entries are compiled again, and then count what comes late
        self.observed_table.clear()

    def not_a_frame(self, value: object) -> ContractError:
        """Return the error for emitting something that is not a frame."""
        return ContractError(f"{self.name!r} emitted an object of type {type(value).__name__}, which is not a Frame")

    def statistics(self) -> ProcessorStatistics:
        """Return its counters, frozen."""
        counters = self.counters
        busy_ms = counters.busy * 1000 + counters.timed_ns / 1e6
        if counters.timed:
            busy_ms *= counters.frames_in / counters.timed
        return ProcessorStatistics(
            name=self.name,
            frames_in=counters.frames_in,
            frames_out=counters.frames_out,
            stale_dropped=counters.stale,
            overflow_dropped=counters.overflow,
            late_dropped=counters.late,
            error_dropped=counters.error,
            restarts=counters.restarts,
            waiting=len(self.inbox) if self.inbox is not None else 0,
            inbox_peak=counters.peak,
            replies=counters.replies,
            busy_ms=busy_ms,
            own=self.processor.statistics(),
        )

    def __repr__(self) -> str:
        return f"<Stage {self.name}>"


def inherit(frame: Frame, cause: int) -> Frame:
    """Return a frame that does not outlive the epoch of its cause. Events never expire and stay as they are."""
    return frame.stamped(cause) if frame.delivery in (Delivery.STREAM, Delivery.URGENT) else frame
