"""Convert between frames and Pillow's pictures."""

from __future__ import annotations

import importlib
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from bargein.pipeline import Image, Video
from bargein.pipeline.lowlevel import import_extra

__all__ = ["RAW", "Pixels", "RawFormat", "convert_mode", "pillow", "raw_pixels", "to_picture", "to_pixels"]

Pixels = npt.NDArray[np.uint8]
RawFormat = Literal["rgb24", "bgr24", "rgba", "gray8"]

RAW: tuple[str, ...] = get_args(RawFormat)
"""The formats whose `data` is an array."""
_MODES = {"rgb24": ("RGB", "RGB"), "bgr24": ("RGB", "BGR"), "rgba": ("RGBA", "RGBA"), "gray8": ("L", "L")}
"""Pillow's mode of the picture, and its name for the order of the bytes."""


def pillow(user: str, module: str = "Image") -> Any:
    """Return a module of Pillow. Raises `ModuleNotFoundError` with the extra to install."""
    import_extra("PIL", "video", user)
    return importlib.import_module(f"PIL.{module}")


def raw_pixels(frame: Video | Image, user: str) -> Pixels:
    """Return the pixels of a raw frame. Raises `ValueError` for an encoded one, with what to insert."""
    if isinstance(frame.data, bytes):
        raise ValueError(f"{user} takes raw pixels, and got {frame!r}; insert DecodePicture() before it")
    return frame.data


def to_picture(image: Any, pixels: Pixels, form: str) -> Any:
    """Return raw pixels as a picture, which may share their memory: do not write to it. `image` is `PIL.Image`."""
    mode, order = _MODES[form]
    size = pixels.shape[1], pixels.shape[0]
    return image.frombuffer(mode, size, np.ascontiguousarray(pixels), "raw", order, 0, 1)


def to_pixels(picture: Any, form: str) -> Pixels:
    """Return the pixels of a picture whose mode fits the format, as a C-contiguous read-only array."""
    mode, order = _MODES[form]
    shape = (picture.height, picture.width) if mode == "L" else (picture.height, picture.width, len(mode))
    return np.frombuffer(picture.tobytes("raw", order), np.uint8).reshape(shape)


def convert_mode(image: Any, picture: Any, form: str) -> Any:
    """Return a picture in the mode that a raw format needs. Without an alpha channel, transparency becomes black."""
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
