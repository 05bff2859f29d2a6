"""Pictures of one size, whatever comes in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
from bargein.pipeline import Image, Processor, Video

from ._pictures import Pixels, pillow, pixels_of, to_picture, to_pixels

__all__ = ["Fit", "Scale"]

Fit = Literal["letterbox", "crop", "stretch"]
"""What becomes of another aspect ratio: bars, a cut, or a distortion."""


class Scale(Processor):
    """Give raw pictures a size of `width` x `height` pixels, in a worker thread.

    `letterbox` shows the whole picture in the middle, between bars of the `background` colour (red, green, blue; grey
    pictures have its brightness, rgba ones are opaque there). `crop` fills everything and cuts what stands out, the
    same on both sides. `stretch` fills everything and distorts. The aspect ratio of the first is right to half a pixel
    of the picture made, that of the second exactly. What is made smaller is filtered, not thinned (bilinear, by
    Pillow, extra `video`). The format stays what it was; the arrays are C-contiguous and read-only. A frame that fits
    already passes as it is.

    Raises `ValueError` for options that cannot be and for encoded frames, and `ModuleNotFoundError` without Pillow.
    """

    blocking = True

    def __init__(
        self,
        width: int,
        height: int,
        fit: Fit = "letterbox",
        background: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        for side, pixels in (("width", width), ("height", height)):
            if type(pixels) is not int or pixels <= 0:
                raise ValueError(f"Scale({side}={pixels!r}): expected pixels as a positive int, such as 640")
        if fit not in get_args(Fit):
            raise ValueError(f"Scale(fit={fit!r}): expected one of {', '.join(get_args(Fit))}")
        if (
            not isinstance(background, Sequence)
            or len(background) != 3
            or not all(type(part) is int and 0 <= part <= 255 for part in background)
        ):
            raise ValueError(f"Scale(background={background!r}): expected red, green and blue, each an int in 0..255")
        self.width = width
        self.height = height
        self.fit = fit
        self.background = background
        self._pillow = pillow("Scale")

    def process(self, frame: Video | Image) -> Iterator[Video | Image]:
        """Give the frame in the wanted size; unchanged, the very same frame, if it has it."""
        pixels = pixels_of(frame, "Scale")
        if pixels.shape[:2] == (self.height, self.width):
            yield frame
        else:
            yield msgspec.structs.replace(frame, data=self._scaled(pixels, frame.format))

    def _scaled(self, pixels: Pixels, form: str) -> Pixels:
        height, width = pixels.shape[:2]
        size, box = (self.width, self.height), (0.0, 0.0, float(width), float(height))
        if self.fit == "letterbox":
            size = _inside(width, height, *size)
        elif self.fit == "crop":
            box = _middle(width, height, *size)
        picture = to_picture(self._pillow, pixels, form)
        scaled = to_pixels(picture.resize(size, self._pillow.Resampling.BILINEAR, box), form)
        return scaled if size == (self.width, self.height) else self._framed(scaled, form)

    def _framed(self, pixels: Pixels, form: str) -> Pixels:
        """The picture in the middle of the background."""
        height, width = pixels.shape[:2]
        top, left = (self.height - height) // 2, (self.width - width) // 2
        red, green, blue = self.background
        grey = round(0.299 * red + 0.587 * green + 0.114 * blue)
        colour = {"bgr24": (blue, green, red), "rgba": (red, green, blue, 255), "gray8": grey}
        canvas = np.empty((self.height, self.width, *pixels.shape[2:]), np.uint8)
        canvas[:] = colour.get(form, self.background)
        canvas[top : top + height, left : left + width] = pixels
        canvas.setflags(write=False)
        return canvas


def _inside(width: int, height: int, most_wide: int, most_high: int) -> tuple[int, int]:
    """The largest size of the picture's shape that fits, at least one pixel."""
    if width * most_high >= height * most_wide:
        return most_wide, max(1, round(height * most_wide / width))
    return max(1, round(width * most_high / height)), most_high


def _middle(width: int, height: int, wide: int, high: int) -> tuple[float, float, float, float]:
    """The largest part of the wanted shape in the middle of the picture: left, top, right, bottom."""
    kept_wide, kept_high = min(width, height * wide / high), min(height, width * high / wide)
    left, top = (width - kept_wide) / 2, (height - kept_high) / 2
    return left, top, left + kept_wide, top + kept_high
