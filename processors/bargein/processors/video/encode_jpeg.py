"""Encode raw pictures as JPEG."""

from __future__ import annotations

import io
from collections.abc import Iterator

import msgspec

from bargein.pipeline import Image, Processor, Video
from bargein.pipeline.lowlevel import check_options

from ._pictures import convert_mode, pillow, raw_pixels, to_picture

__all__ = ["EncodeJpeg"]

MAX_SIDE = 65_500
"""Maximum pixels a side in libjpeg."""


class EncodeJpeg(Processor):
    """Encodes raw pictures as JPEG, in a worker thread (Pillow, extra `video`).

    JPEG frames pass unchanged. Colour is stored at half resolution (4:2:0), gray8 stays grey, and the transparency of
    rgba becomes black.

    Args:
        quality: Quality of libjpeg, from 1 (smallest) to 95 (best).

    Raises:
        ValueError: `quality` is out of its range. In the session: the frame is png or webp (insert `DecodePicture`),
            or a side is longer than 65,500 pixels.
        ModuleNotFoundError: Pillow is not installed.
    """

    blocking = True

    @check_options
    def __init__(self, quality: int = 80) -> None:
        if type(quality) is not int or not 1 <= quality <= 95:
            raise ValueError(f"EncodeJpeg(quality={quality!r}): expected an int from 1 (smallest) to 95 (best)")
        self.quality = quality
        self._pillow = pillow("EncodeJpeg")

    def process(self, frame: Video | Image) -> Iterator[Video | Image]:
        """Yield the frame with JPEG bytes as its data."""
        if frame.format == "jpeg":
            yield frame
            return
        pixels = raw_pixels(frame, "EncodeJpeg")
        if max(pixels.shape[:2]) > MAX_SIDE:
            raise ValueError(f"{frame!r} is too large for JPEG ({MAX_SIDE} pixels a side); insert Scale(...) before it")
        picture = to_picture(self._pillow, pixels, frame.format)
        flat = convert_mode(self._pillow, picture, "gray8" if frame.format == "gray8" else "rgb24")
        file = io.BytesIO()
        flat.save(file, "JPEG", quality=self.quality)
        yield msgspec.structs.replace(frame, data=file.getvalue(), format="jpeg")
