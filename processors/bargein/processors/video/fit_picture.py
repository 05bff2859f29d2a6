"""Fit pictures to what a model accepts, or drop them for a model that accepts none."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bargein.pipeline import Failure, Image, Processor, Video
from bargein.pipeline.lowlevel import check_options

from ._pictures import Pixels, convert_mode, pillow, to_picture
from .decode_picture import DecodePicture

__all__ = ["DropPictures", "FitPicture"]

SHRINK = 0.7
"""Factor of the sides for each new attempt, when a picture has too many bytes: about half of the area."""
MIN_SIDE = 16
"""Pixels. A limit that even a thumbnail exceeds is a mistake, and not a reason to go on."""


class FitPicture(Processor):
    """Encodes pictures so that a model accepts them, in a worker thread (Pillow, extra `video`).

    A picture that fits already passes unchanged. Raw pixels and other formats become JPEG. A picture that is too large
    is made smaller until it fits, with the same aspect ratio.

    Args:
        formats: Encoded formats that pass, of `"jpeg"`, `"png"` and `"webp"`. Empty for all three.
        max_bytes: Maximum size of an encoded picture in bytes; None for no limit.
        max_side_pixels: Maximum width and height in pixels of a picture that is encoded here.
        quality: JPEG quality of libjpeg, from 1 to 95.

    Raises:
        ValueError: An argument is out of its range. In the session: a picture cannot be decoded. With
            `.options(on_error="drop")` only that picture is lost.
        ModuleNotFoundError: Pillow is not installed.
    """

    blocking = True

    @check_options
    def __init__(
        self,
        formats: Sequence[str] = ("jpeg",),
        *,
        max_bytes: int | None = None,
        max_side_pixels: int = 2048,
        quality: int = 80,
    ) -> None:
        if unknown := set(formats) - {"jpeg", "png", "webp"}:
            raise ValueError(f"FitPicture(formats={formats!r}): {sorted(unknown)} are not among jpeg, png and webp")
        for name, value in {"max_bytes": max_bytes, "max_side_pixels": max_side_pixels}.items():
            if value is not None and (type(value) is not int or value <= 0):
                raise ValueError(f"FitPicture({name}={value!r}): expected a positive int")
        if type(quality) is not int or not 1 <= quality <= 95:
            raise ValueError(f"FitPicture(quality={quality!r}): expected an int from 1 (smallest) to 95 (best)")
        self.formats = frozenset(formats) or frozenset({"jpeg", "png", "webp"})
        self.max_bytes = max_bytes
        self.max_side_pixels = max_side_pixels
        self.quality = quality
        self._pillow = pillow("FitPicture")
        self._decode = DecodePicture()

    def process(self, frame: Video | Image) -> Iterator[Video | Image]:
        """Yield the frame with a picture that fits, or the same frame object if it fits already."""
        if isinstance(frame.data, bytes) and frame.format in self.formats and self._is_small(frame.data):
            yield frame
            return
        yield msgspec.structs.replace(frame, data=self._encode(frame), format="jpeg")

    def _is_small(self, data: bytes) -> bool:
        return self.max_bytes is None or len(data) <= self.max_bytes

    def _encode(self, frame: Video | Image) -> bytes:
        raw = next(self._decode.process(frame)) if isinstance(frame.data, bytes) else frame
        pixels: Pixels = raw.data  # type: ignore[assignment]
        picture = convert_mode(
            self._pillow,
            to_picture(self._pillow, pixels, raw.format),
            "gray8" if raw.format == "gray8" else "rgb24",
        )
        side = max(picture.size)
        picture = self._shrink(picture, min(1.0, self.max_side_pixels / side))
        while not self._is_small(data := self._to_jpeg(picture)):
            if max(picture.size) <= MIN_SIDE:
                raise ValueError(f"{frame!r} does not fit into max_bytes={self.max_bytes}, however small it is made")
            picture = self._shrink(picture, SHRINK)
        return data

    def _shrink(self, picture: Any, factor: float) -> Any:
        if factor == 1:
            return picture
        size = tuple(max(1, round(pixels * factor)) for pixels in picture.size)
        return picture.resize(size, self._pillow.Resampling.BILINEAR)

    def _to_jpeg(self, picture: Any) -> bytes:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=self.quality)
        return file.getvalue()


class DropPictures(Processor):
    """Drops pictures before a brain that cannot look at them. The first one causes a `Failure`; the call continues.

    Args:
        owner: Name of the brain, for the message.
    """

    @check_options
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._reported = False

    def process(self, frame: Video | Image) -> Iterator[Failure]:
        """Drop the frame, and yield the failure for the first one."""
        if not self._reported:
            self._reported = True
            yield Failure(
                f"{self.owner} does not look at pictures; use a model that takes pictures, or describe them in text",
                processor=self.owner,
            )
