"""Observe frames as they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bargein.pipeline import Frame, Pass
from bargein.pipeline.lowlevel import check_options

__all__ = ["Tap"]


class Tap(Pass):
    """Calls a function with every frame of some classes, and passes the frame on.

    To observe every hop of a session from outside, use `session.tap`.

    Args:
        look: A sync function of the frame. It must not block and must not change the frame. An exception of it is the
            processor's exception.
        kinds: Frame classes to observe; all media, text and events by default.
    """

    @check_options
    def __init__(self, look: Callable[[Any], object], *kinds: type[Frame]) -> None:
        super().__init__(*kinds)
        self.look = look

    def process(self, frame: Frame) -> Iterator[Frame]:
        """Call the function and yield the frame."""
        self.look(frame)
        yield frame
