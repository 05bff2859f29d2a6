"""A picture that was shown, as the conversation keeps it."""

from __future__ import annotations

from bargein.pipeline import Image, Video

from .history import Picture

__all__ = ["picture_of"]


def picture_of(frame: Image | Video, who: str) -> Picture:
    """The encoded picture of a frame. Raises `ValueError` for one that is not encoded, with what to insert."""
    if not isinstance(frame.data, bytes):
        raise ValueError(f"{who} takes encoded pictures, and got {frame!r}; insert EncodeJpeg()")
    detail = frame.detail if isinstance(frame, Image) else ""
    return Picture(media=f"image/{frame.format}", data=frame.data, detail=detail)
