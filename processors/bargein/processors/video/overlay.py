"""Draw on video frames with your own function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from bargein.pipeline import Processor, Video
from bargein.pipeline.lowlevel import check_options

from ._pictures import Pixels, raw_pixels

__all__ = ["Overlay"]


class Overlay(Processor):
    """Calls your function with every raw video frame, in a worker thread, one frame at a time.

    Args:
        draw: A sync function `draw(pixels, frame)`. `pixels` is a copy of the frame's pixels that it may write to:
            `uint8` of shape `(height, width, 3)`, `(height, width, 4)` for rgba or `(height, width)` for gray8, in the
            byte order of `frame.format`. It returns None, or another array of the same shape and type, which replaces
            the pixels.

    Raises:
        ValueError: `draw` is not a sync function. In the session: the frame is encoded (insert `DecodePicture`), or
            `draw` returned something else. Exceptions of `draw` itself are passed on.
    """

    blocking = True

    @check_options
    def __init__(self, draw: Callable[[Pixels, Video], Pixels | None]) -> None:
        call = getattr(draw, "__call__", draw)  # noqa: B004 - an object may have an async __call__
        if not callable(draw) or inspect.iscoroutinefunction(draw) or inspect.iscoroutinefunction(call):
            raise ValueError(f"Overlay({draw!r}): expected a sync function draw(pixels, frame)")
        self.draw = draw

    def process(self, frame: Video) -> Iterator[Video]:
        """Yield the frame with the drawn pixels."""
        source = raw_pixels(frame, "Overlay")
        pixels = source.copy()
        result = self.draw(pixels, frame)
        if result is not None and result is not pixels:
            pixels = self._check(result, source).copy()  # it may be the input, or a buffer that `draw` uses again
        yield msgspec.structs.replace(frame, data=pixels)

    def _check(self, result: object, source: Pixels) -> Pixels:
        if isinstance(result, np.ndarray) and result.dtype == np.uint8 and result.shape == source.shape:
            return result
        what = (
            f"an array of {result.dtype} with shape {result.shape}"
            if isinstance(result, np.ndarray)
            else f"{type(result).__name__} {result!r:.60}"
        )
        raise ValueError(
            f"Overlay: {getattr(self.draw, '__qualname__', repr(self.draw))} returned {what}; expected None, when it "
            f"has drawn on its pixels, or an array of uint8 with shape {source.shape}"
        )
