"""`UserPictures`: converts the user's pictures for a brain, and keeps them before the question about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bargein.pipeline import Image, Processor, UserText, Video
from bargein.pipeline.lowlevel import check_options
from bargein.processors import Commit, FitPicture, Turn, TurnControl
from bargein.services.frames import Configure, Remember, Respond, Say

__all__ = ["UserPictures"]

Request = Turn | UserText | Commit | TurnControl | Respond | Say | Configure | Remember
"""Frames that ask the brain for something or configure it. They must keep their order with pictures and each other."""


class UserPictures(Processor):
    """Fits pictures as `FitPicture` does, in a worker thread, and keeps their order with the questions about them.

    A frame that a processor does not take bypasses it at once, even while the processor is busy with an earlier frame.
    So a question could overtake its picture. For this reason the processor also takes every frame that asks the brain
    for something.

    Args:
        formats: Encoded formats that pass unchanged, of `"jpeg"`, `"png"` and `"webp"`; empty for all three. Default:
            `("jpeg",)`.
        max_bytes: Maximum size of an encoded picture in bytes; None for no limit (the default).

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """

    # Pillow decodes and encodes for milliseconds and releases the interpreter lock, so a thread keeps the event loop
    # free.
    blocking = True

    @check_options
    def __init__(self, formats: Sequence[str] = ("jpeg",), *, max_bytes: int | None = None) -> None:
        self._fit = FitPicture(formats, max_bytes=max_bytes)

    def process(self, frame: Video | Image | Request) -> Iterator[Video | Image | Request]:
        """Yield the frame, a picture in a format that fits."""
        if isinstance(frame, Video | Image):
            yield from self._fit.process(frame)
        else:
            yield frame
