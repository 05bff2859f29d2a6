"""Looking at what passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bargein.pipeline import Frame, Pass

__all__ = ["Tap"]


class Tap(Pass):
    """Call a function with every frame of the given classes (all data, when none is given), and pass it on.

    The function must not wait, and must not change the frame; what it raises is the processor's exception. To see
    every hop of a session from outside, use `session.tap`.
    """

    def __init__(self, look: Callable[[Any], object], *kinds: type[Frame]) -> None:
        super().__init__(*kinds)
        self.look = look

    def process(self, frame: Frame) -> Iterator[Frame]:
        """Look, and give the frame on."""
        self.look(frame)
        yield frame
