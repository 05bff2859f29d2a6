"""JPEG, PNG and WebP as pixels; and pixels in another order."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import msgspec
from bargein.pipeline import Image, Processor, Video

from ._pictures import RAW, Pixels, RawFormat, in_mode, pillow, to_picture, to_pixels

__all__ = ["DecodePicture"]

MAX_PIXELS = 25_000_000
"""The photograph of a telephone (24 megapixels) fits; in rgba it takes 100 MB."""
_PLUGINS = {"jpeg": "Jpeg", "png": "Png", "webp": "WebP"}
_HINT = 'on_error="drop" loses the frame instead of the session'


class DecodePicture(Processor):
    """Decode jpeg, png and webp pictures to the raw `format`, in a worker thread.

    Raw frames of that format pass as they are; of another one they are converted, with the weights of BT.601 for grey.
    What is transparent is laid over black, unless the format is rgba. A picture is turned as its EXIF orientation says:
    cameras that are held upright write it. Of an animation the first picture is given. Arrays are C-contiguous and
    read-only. Through Pillow (extra `video`).

    What comes from outside can be anything. Raises `ValueError` for bytes that are truncated, corrupt, or not what
    their format says, and for a picture of more than `max_pixels` pixels, which is told from its header, before memory
    is spent on it. These end the session, or with `DecodePicture().options(on_error="drop")` lose the frame.

    Raises `ValueError` for options that cannot be, and `ModuleNotFoundError` without Pillow.
    """

    blocking = True

    def __init__(self, format: RawFormat = "rgb24", max_pixels: int = MAX_PIXELS) -> None:
        if format not in RAW:
            raise ValueError(f"DecodePicture(format={format!r}): expected one of {', '.join(RAW)}")
        if type(max_pixels) is not int or max_pixels <= 0:
            raise ValueError(f"DecodePicture(max_pixels={max_pixels!r}): expected a positive int, such as {MAX_PIXELS}")
        self.format = format
        self.max_pixels = max_pixels
        self._pillow = pillow("DecodePicture")
        self._turn = pillow("DecodePicture", "ImageOps").exif_transpose
        # The classes, not Image.open: that one judges large pictures by a limit that is global, and only warns.
        self._files = {
            form: getattr(pillow("DecodePicture", f"{name}ImagePlugin"), f"{name}ImageFile")
            for form, name in _PLUGINS.items()
        }

    def process(self, frame: Video | Image) -> Iterator[Video | Image]:
        """Give the frame with pixels of the wanted format in it."""
        if frame.format == self.format:
            yield frame
        else:
            yield msgspec.structs.replace(frame, data=self._pixels(frame), format=self.format)

    def _pixels(self, frame: Video | Image) -> Pixels:
        if not isinstance(frame.data, bytes):
            picture = to_picture(self._pillow, frame.data, frame.format)
            return to_pixels(in_mode(self._pillow, picture, self.format), self.format)
        kind = _kind(frame.data)
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
        except Exception as error:  # decoders raise whatever they stumble over: OSError, SyntaxError, struct.error ...
            raise _broken(frame, error) from error

    def _decoded(self, picture: Any) -> Pixels:
        picture.load()
        with contextlib.suppress(Exception):  # a picture is not lost for EXIF that cannot be read
            self._turn(picture, in_place=True)
        return to_pixels(in_mode(self._pillow, picture, self.format), self.format)


def _kind(data: bytes) -> str:
    """What the first bytes say it is; empty when they say nothing known."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def _broken(frame: Video | Image, error: Exception) -> ValueError:
    return ValueError(
        f"{frame!r} cannot be decoded: its {len(frame.data)} bytes are truncated, corrupt, or no {frame.format} "
        f"({type(error).__name__}: {error}); ask whoever sends it, or {_HINT}"
    )
