"""Decode JPEG, PNG and WebP pictures to pixels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import msgspec

from bargein.pipeline import Image, Processor, Video
from bargein.pipeline.lowlevel import check_options

from ._pictures import RAW, Pixels, RawFormat, convert_mode, pillow, to_picture, to_pixels

__all__ = ["DecodePicture"]

MAX_PIXELS = 25_000_000
"""A phone camera's 24 megapixels fit. In rgba that is 100 MB."""
_PLUGINS = {"jpeg": "Jpeg", "png": "Png", "webp": "WebP"}
_HINT = 'on_error="drop" loses the frame instead of the session'


class DecodePicture(Processor):
    """Decodes jpeg, png and webp pictures to raw pixels, in a worker thread (Pillow, extra `video`).

    Raw frames of the wanted format pass unchanged; other raw frames are converted (grey with the weights of BT.601).
    Transparency becomes black, unless the format is rgba. The EXIF orientation is applied. Of an animation only the
    first picture is decoded. The resulting arrays are C-contiguous and read-only.

    Args:
        format: The raw format of the result: `"rgb24"`, `"bgr24"`, `"rgba"` or `"gray8"`.
        max_pixels: Maximum width times height. Larger pictures are refused by their header, before memory is spent.

    Raises:
        ValueError: An option is out of its range. In the session: the bytes are truncated, corrupt or of another
            format, or the picture is too large. This ends the session; with `.options(on_error="drop")` only the
            frame is lost.
        ModuleNotFoundError: Pillow is not installed.
    """

    blocking = True

    @check_options
    def __init__(self, format: RawFormat = "rgb24", max_pixels: int = MAX_PIXELS) -> None:
        if format not in RAW:
            raise ValueError(f"DecodePicture(format={format!r}): expected one of {', '.join(RAW)}")
        if type(max_pixels) is not int or max_pixels <= 0:
            raise ValueError(f"DecodePicture(max_pixels={max_pixels!r}): expected a positive int, such as {MAX_PIXELS}")
        self.format = format
        self.max_pixels = max_pixels
        self._pillow = pillow("DecodePicture")
        self._turn = pillow("DecodePicture", "ImageOps").exif_transpose
        # Not Image.open: its size limit is a global of Pillow, and only warns below twice its value.
        self._files = {
            form: getattr(pillow("DecodePicture", f"{name}ImagePlugin"), f"{name}ImageFile")
            for form, name in _PLUGINS.items()
        }

    def process(self, frame: Video | Image) -> Iterator[Video | Image]:
        """Yield the frame with pixels in the wanted format."""
        if frame.format == self.format:
            yield frame
        else:
            yield msgspec.structs.replace(frame, data=self._pixels(frame), format=self.format)

    def _pixels(self, frame: Video | Image) -> Pixels:
        if not isinstance(frame.data, bytes):
            picture = to_picture(self._pillow, frame.data, frame.format)
            return to_pixels(convert_mode(self._pillow, picture, self.format), self.format)
        kind = _detect_format(frame.data)
        if kind and kind != frame.format:
            raise ValueError(f"{frame!r} holds a {kind}; set format={kind!r} where the frame is made, or {_HINT}")
        try:
            picture = self._files[frame.format](io.BytesIO(frame.data))
        except Exception as error:
            raise _broken(frame, error) from error
        width, height = picture.size
        if width * height > self.max_pixels:
            raise ValueError(
                f"{frame!r} is a picture of {width}x{height}, more than DecodePicture(max_pixels={self.max_pixels}) "
                f"allows; allow more if it is to be trusted, or {_HINT}"
            )
        try:
            return self._decoded(picture)
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
            raise _broken(frame, error) from error

    def _decoded(self, picture: Any) -> Pixels:
        picture.load()
        with contextlib.suppress(Exception):  # unreadable EXIF data must not cost the picture
            self._turn(picture, in_place=True)
        return to_pixels(convert_mode(self._pillow, picture, self.format), self.format)


def _detect_format(data: bytes) -> str:
    """Return the format that the first bytes announce, or an empty string."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def _broken(frame: Video | Image, error: Exception) -> ValueError:
    return ValueError(
        f"{frame!r} cannot be decoded: its {len(frame.data)} bytes are truncated, corrupt, or not {frame.format} "
        f"({type(error).__name__}: {error}); check the sender, or {_HINT}"
    )
