"""Scale pictures to one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import msgspec
import numpy as np

from bargein.pipeline import Image, Processor, Video
from bargein.pipeline.lowlevel import check_options

from ._pictures import Pixels, pillow, raw_pixels, to_picture, to_pixels

__all__ = ["Fit", "Scale"]

Fit = Literal["letterbox", "crop", "stretch"]
"""How another aspect ratio is handled: with bars, by cutting, or by distorting."""


class Scale(Processor):
    """Scales raw pictures to `width` x `height` pixels, in a worker thread (Pillow, extra `video`).

    The format of the frame stays the same. The resulting arrays are C-contiguous and read-only. Smaller pictures are
    filtered (bilinear). A frame of the right size passes unchanged.

    Args:
        width: Width of the result in pixels.
        height: Height of the result in pixels.
        fit: `"letterbox"` shows the whole picture between bars, `"crop"` fills the area and cuts both sides equally,
            `"stretch"` fills the area and distorts.
        background: Colour of the bars as (red, green, blue), each 0 to 255. Grey pictures get its brightness, rgba
            pictures an opaque bar.

    Raises:
        ValueError: An option is out of its range; in the session, a frame is encoded (insert `DecodePicture`).
        ModuleNotFoundError: Pillow is not installed.
    """

    blocking = True

    @check_options
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
        """Yield the scaled frame, or the same frame object if it has the size."""
        pixels = raw_pixels(frame, "Scale")
        if pixels.shape[:2] == (self.height, self.width):
            yield frame
        else:
            yield msgspec.structs.replace(frame, data=self._resize(pixels, frame.format))

    def _resize(self, pixels: Pixels, form: str) -> Pixels:
        height, width = pixels.shape[:2]
        size, box = (self.width, self.height), (0.0, 0.0, float(width), float(height))
        if self.fit == "letterbox":
            size = _fit_inside(width, height, *size)
        elif self.fit == "crop":
            box = _crop_box(width, height, *size)
        picture = to_picture(self._pillow, pixels, form)
        scaled = to_pixels(picture.resize(size, self._pillow.Resampling.BILINEAR, box), form)
        return scaled if size == (self.width, self.height) else self._add_bars(scaled, form)

    def _add_bars(self, pixels: Pixels, form: str) -> Pixels:
        """Return the picture centred on the background."""
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


def _fit_inside(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """Return the largest size with the picture's aspect ratio that fits, at least one pixel a side."""
    if width * max_height >= height * max_width:
        return max_width, max(1, round(height * max_width / width))
    return max(1, round(width * max_height / height)), max_height


def _crop_box(width: int, height: int, wide: int, high: int) -> tuple[float, float, float, float]:
    """Return the largest centred part with the wanted aspect ratio: left, top, right, bottom."""
    box_width, box_height = min(width, height * wide / high), min(height, width * high / wide)
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, left + box_width, top + box_height
