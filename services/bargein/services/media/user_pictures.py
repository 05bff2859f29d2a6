"""`UserPictures`: the user's pictures in a format that a brain takes, still before the question about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bargein.pipeline import Image, Processor, UserText, Video
from bargein.pipeline.lowlevel import check_options
from bargein.processors import Commit, FitPicture, Turn, TurnControl
from bargein.services.frames import Configure, Remember, Respond, Say

__all__ = ["UserPictures"]

Request = Turn | UserText | Commit | TurnControl | Respond | Say | Configure | Remember
"""What asks the brain for something, or says how to do it. These frames keep their order among each other, too."""


class UserPictures(Processor):
    """Fits pictures as `FitPicture` does, in a worker thread, and keeps their order with what asks about them.

    A frame passes a processor that does not take it at once, also while that processor is busy with an earlier frame. A
    question would overtake its picture so. Therefore this one takes everything that asks the brain for something, too.

    Args:
        formats: Encoded formats that pass, of `"jpeg"`, `"png"` and `"webp"`. Empty for all three.
        max_bytes: Maximum size of an encoded picture in bytes; None for no limit.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """

    # Pillow decodes and encodes for milliseconds, without the interpreter lock, so the event loop goes on meanwhile.
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
