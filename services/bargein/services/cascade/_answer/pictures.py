"""`PictureIntake`: stores the user's pictures in the history."""

from __future__ import annotations

import importlib.util

from bargein.pipeline import Failure, Image, Processor, Video
from bargein.processors import SampleFps
from bargein.services.brain import UnsupportedError
from bargein.services.cascade._base import failure_from
from bargein.services.cascade.parts import LanguageModel
from bargein.services.history import History, Picture
from bargein.services.media.user_pictures import UserPictures

__all__ = ["PictureIntake"]


class PictureIntake:
    """Stores the user's pictures in the history, if the model looks at pictures.

    Args:
        part: The language model.
        fps: Maximum number of pictures a second that are kept of a `Video`.
    """

    def __init__(self, part: LanguageModel, fps: float) -> None:
        self._part = part
        self._sampler = SampleFps(fps)
        self._video_refused = False  # whether the Failure for video was sent, which is sent only once

    def adapters(self) -> tuple[Processor, ...]:
        """Return a processor that encodes pictures, if the model looks at pictures."""
        if not self._part.images or importlib.util.find_spec("PIL") is None:
            return ()
        return SampleFps(self._sampler.fps), UserPictures().options(on_error="drop")

    def keep(self, frame: Image | Video, history: History) -> Failure | None:
        """Store a picture in the history. Return a `Failure` if that is not possible; None if there is nothing to
        report."""
        receiver, is_video = type(self._part).__name__, isinstance(frame, Video)
        if not self._part.images:
            known, self._video_refused = is_video and self._video_refused, self._video_refused or is_video
            error = UnsupportedError.of(receiver, "supports_images", type(frame).__name__)
            return None if known else failure_from(self._part, error)
        if not isinstance(frame.data, bytes):
            raw = ValueError(f"{receiver} takes encoded pictures; pip install 'bargein[video]', which encodes them")
            return failure_from(self._part, raw)
        if not isinstance(frame, Video) or any(self._sampler.process(frame)):
            history.show(Picture.from_frame(frame, receiver))
        return None
