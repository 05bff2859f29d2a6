"""Reduce the frame rate of a video stream."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bargein.pipeline import Interrupt, Processor, Video
from bargein.pipeline.lowlevel import SECOND, check_options

__all__ = ["SampleFps"]


class _Stream:
    """The position of one stream on its grid of due times, which begins with the first frame."""

    def __init__(self, first: Video) -> None:
        self.start = self.latest = first.pts
        self.epoch = first.epoch
        self.slot = 0  # the grid point of the last frame that passed


class SampleFps(Processor):
    """Passes at most `fps` video frames a second of media time (`pts`) and drops the others, without delay.

    Frames are due at multiples of `1 / fps` seconds after the first frame. The frame nearest to a due time passes: one
    that is later, or earlier by at most half the current interval between frames. So 30 frames a second become 10 by
    taking every third, and a stream of the right rate passes completely although its times jitter. A slower stream
    passes as it is; no frame is invented.

    Any window of `n / fps` seconds contains at most `n + 1` frames that passed, and two of them are at least a third of
    the period apart. A `pts` that goes backwards starts a new stream, whose first frame passes. Of frames that all
    carry the same `pts`, only the first passes.

    The user's video and the agent's (with a `response_id`) are counted separately. After an interrupt the next reply
    starts a new grid; a live camera keeps its own.

    Args:
        fps: Maximum number of frames a second; 0.5 is one frame in two seconds.

    Raises:
        ValueError: `fps` is not a positive finite number.
    """

    @check_options
    def __init__(self, fps: float) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"SampleFps({fps}): expected a positive number of frames a second, such as 1 or 0.5")
        self.fps = fps
        self._period = SECOND / fps
        self._streams: dict[bool, _Stream] = {}  # by whether it is the agent's

    def process(self, frame: Video | Interrupt) -> Iterator[Video]:
        """Yield the same frame object if it is due."""
        if isinstance(frame, Interrupt):
            self._streams = {key: each for key, each in self._streams.items() if each.epoch >= frame.epoch}
        elif self._due(frame):
            yield frame

    def _due(self, frame: Video) -> bool:
        agent = bool(frame.response_id)
        stream = self._streams.get(agent)
        if stream is None or frame.pts < stream.latest:
            self._streams[agent] = _Stream(frame)
            return True
        early = min(frame.pts - stream.latest, self._period) / 2  # the next frame would be further from the due time
        stream.latest, stream.epoch = frame.pts, frame.epoch
        at = frame.pts - stream.start
        if at + early < (stream.slot + 1) * self._period:
            return False
        stream.slot = max(stream.slot + 1, math.floor(at / self._period + 0.5))
        return True
