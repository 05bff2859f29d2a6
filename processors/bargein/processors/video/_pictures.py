"""Pixels to Pillow's pictures and back, for the processors that work through it."""

from __future__ import annotations

import importlib
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from bargein.pipeline import Image, Video
from bargein.pipeline.lowlevel import import_extra

__all__ = ["RAW", "Pixels", "RawFormat", "in_mode", "pillow", "pixels_of", "to_picture", "to_pixels"]

Pixels = npt.NDArray[np.uint8]
RawFormat = Literal["rgb24", "bgr24", "rgba", "gray8"]

RAW: tuple[str, ...] = get_args(RawFormat)
"""The formats whose `data` is an array."""
_MODES = {"rgb24": ("RGB", "RGB"), "bgr24": ("RGB", "BGR"), "rgba": ("RGBA", "RGBA"), "gray8": ("L", "L")}
"""Pillow's name for the picture, and for the order of its bytes."""


def pillow(who: str, module: str = "Image") -> Any:
    """A module of Pillow. Raises `ModuleNotFoundError` that names the extra to install."""
    import_extra("PIL", "video", who)
    return importlib.import_module(f"PIL.{module}")


def pixels_of(frame: Video | Image, who: str) -> Pixels:
    """The pixels of a raw frame. Raises `ValueError` that says what to insert for an encoded one."""
    if isinstance(frame.data, bytes):
        raise ValueError(f"{who} takes raw pixels, and got {frame!r}; insert DecodePicture() before it")
    return frame.data


def to_picture(image: Any, pixels: Pixels, form: str) -> Any:
    """Pixels in a raw format as a picture, to be read only: it may share their memory. `image` is `PIL.Image`."""
    mode, order = _MODES[form]
    size = pixels.shape[1], pixels.shape[0]
    return image.frombuffer(mode, size, np.ascontiguousarray(pixels), "raw", order, 0, 1)


def to_pixels(picture: Any, form: str) -> Pixels:
    """A picture that is in the right mode already as pixels in a raw format: C-contiguous, read-only."""
    mode, order = _MODES[form]
    shape = (picture.height, picture.width) if mode == "L" else (picture.height, picture.width, len(mode))
    return np.frombuffer(picture.tobytes("raw", order), np.uint8).reshape(shape)


def in_mode(image: Any, picture: Any, form: str) -> Any:
    """A picture in the mode that a raw format needs; what is transparent is laid over black if that has no alpha."""
    mode, _ = _MODES[form]
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scale
        picture = image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode == mode and "transparency" not in picture.info:
        return picture
    if mode == "RGBA" or not picture.has_transparency_data:
        return picture.convert(mode)
    picture = picture.convert("RGBA")
    ground = image.new("RGB", picture.size)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground.convert(mode)
