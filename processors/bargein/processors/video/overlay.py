"""A function of one's own that draws on the video."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from bargein.pipeline import Processor, Video

from ._pictures import Pixels, pixels_of

__all__ = ["Overlay"]


class Overlay(Processor):
    """Let `draw(pixels, frame)` draw on every raw video frame, in a worker thread.

    `pixels` is a copy of the frame's, to be written to: `uint8` of shape `(height, width, 3)`, `(…, 4)` for rgba or
    `(height, width)` for gray8, in the order that `frame.format` says. `draw` returns None when it has drawn there, or
    an array of the same shape that takes its place, which is copied. It is called for one frame at a time, in order.

    Raises `ValueError` for an encoded frame, for what is no plain function, and when `draw` returns anything else; what
    `draw` raises goes its way.
    """

    blocking = True

    def __init__(self, draw: Callable[[Pixels, Video], Pixels | None]) -> None:
        call = getattr(draw, "__call__", draw)  # noqa: B004 - an object may be callable, and that async
        if not callable(draw) or inspect.iscoroutinefunction(draw) or inspect.iscoroutinefunction(call):
            raise ValueError(f"Overlay({draw!r}): expected a plain function of (pixels, frame)")
        self.draw = draw

    def process(self, frame: Video) -> Iterator[Video]:
        """Give the frame with what was drawn."""
        source = pixels_of(frame, "Overlay")
        pixels = source.copy()
        drawn = self.draw(pixels, frame)
        if drawn is not None and drawn is not pixels:
            pixels = self._checked(drawn, source).copy()  # it may be the input, or a buffer that is drawn on again
        yield msgspec.structs.replace(frame, data=pixels)

    def _checked(self, drawn: object, source: Pixels) -> Pixels:
        if isinstance(drawn, np.ndarray) and drawn.dtype == np.uint8 and drawn.shape == source.shape:
            return drawn
        what = (
            f"an array of {drawn.dtype} with shape {drawn.shape}"
            if isinstance(drawn, np.ndarray)
            else f"{type(drawn).__name__} {drawn!r:.60}"
        )
        raise ValueError(
            f"Overlay: {getattr(self.draw, '__qualname__', repr(self.draw))} returned {what}; expected None, when it "
            f"has drawn on its pixels, or an array of uint8 with shape {source.shape}"
        )
