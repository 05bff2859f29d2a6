"""Raw pictures as JPEG, for what talks to the network."""

from __future__ import annotations

import io
from collections.abc import Iterator

import msgspec
from bargein.pipeline import Image, Processor, Video

from ._pictures import in_mode, pillow, pixels_of, to_picture

__all__ = ["EncodeJpeg"]

LONGEST = 65_500
"""How many pixels libjpeg takes on a side."""


class EncodeJpeg(Processor):
    """Encode raw pictures as `jpeg`, in a worker thread. What is `jpeg` already passes as it is.

    `quality` is that of libjpeg, 1 to 95; colour has half the resolution (4:2:0). gray8 stays grey, and rgba is laid
    over black: JPEG has no transparency. Through Pillow (extra `video`).

    Raises `ValueError` for a quality that cannot be, for png and webp, and for a side of more than 65,500 pixels, and
    `ModuleNotFoundError` without Pillow.
    """

    blocking = True

    def __init__(self, quality: int = 80) -> None:
        if type(quality) is not int or not 1 <= quality <= 95:
            raise ValueError(f"EncodeJpeg(quality={quality!r}): expected an int from 1 (smallest) to 95 (best)")
        self.quality = quality
        self._pillow = pillow("EncodeJpeg")

    def process(self, frame: Video | Image) -> Iterator[Video | Image]:
        """Give the frame with the bytes of a JPEG in it."""
        if frame.format == "jpeg":
            yield frame
            return
        pixels = pixels_of(frame, "EncodeJpeg")
        if max(pixels.shape[:2]) > LONGEST:
            raise ValueError(f"{frame!r} is too large for JPEG ({LONGEST} pixels a side); insert Scale(...) before it")
        picture = to_picture(self._pillow, pixels, frame.format)
        flat = in_mode(self._pillow, picture, "gray8" if frame.format == "gray8" else "rgb24")
        file = io.BytesIO()
        flat.save(file, "JPEG", quality=self.quality)
        yield msgspec.structs.replace(frame, data=file.getvalue(), format="jpeg")
