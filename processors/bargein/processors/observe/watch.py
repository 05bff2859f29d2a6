"""`Watch`: calls a function with frames that come up a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from bargein.pipeline import Frame, Processor
from bargein.pipeline.lowlevel import Contract, ProcessorKind, check_options

__all__ = ["Watch"]

F = TypeVar("F", bound=Frame)


class Watch(Processor, Generic[F]):
    """Calls a function with every upstream frame of some classes, such as `Failure`. It stands above a graph.

    It sends nothing. The engine delivers an upstream frame to every processor above that takes it, so sending it again
    would deliver it twice.

    Args:
        report: A sync function of the frame. It must not wait.
        kinds: The frame classes, one or more.
    """

    @check_options
    def __init__(self, report: Callable[[F], object], *kinds: type[F]) -> None:
        self._report = report
        self.contract_ = Contract(kind=ProcessorKind.SYNC, takes=frozenset(kinds), gives=frozenset())  # type: ignore[misc]

    def process(self, frame: Frame) -> None:
        """Call the function."""
        self._report(frame)  # type: ignore[arg-type]  # the contract takes no others
