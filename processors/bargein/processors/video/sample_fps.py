"""Fewer frames a second, for whoever pays by the frame."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bargein.pipeline import Interrupt, Processor, Video

__all__ = ["SampleFps"]

SECOND = 1_000_000_000


class _Stream:
    """Where a stream stands on its grid. The grid begins with its first frame."""

    def __init__(self, first: Video) -> None:
        self.start = self.latest = first.pts
        self.epoch = first.epoch
        self.slot = 0  # which point of the grid the last frame given stands for


class SampleFps(Processor):
    """Give at most `fps` frames a second by media time (`pts`), without delay, and drop the others.

    Frames are due on a grid of `1 / fps` seconds that begins with the first frame. One is given when it is the nearest
    to a due time that can be expected: later, or earlier by at most half the present interval between frames. So 30
    frames a second become 10 by taking every third, 25 become 10 by taking the second and the third in turn, and a
    stream of the right rate passes whole although its times jitter by a sixth of the period either way. Nothing is
    held back or made up: a slower stream stays as slow as it is.

    While `pts` does not run backwards, any closed window of `n / fps` seconds has at most `n + 1` of the frames given,
    and two of them are at least a third of the period apart. A `pts` that goes back begins a new stream, whose first
    frame is given; frames without times are all one moment, of which the first is given.

    The user's video (no `response`) and the agent's are counted apart. An interrupt forgets what has expired by it, so
    that the next reply is seen from its first frame; a live camera stays on its grid.

    Raises `ValueError` unless `fps` is finite and positive; 0.5 is one frame in two seconds.
    """

    def __init__(self, fps: float) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"SampleFps({fps}): expected a positive number of frames a second, such as 1 or 0.5")
        self.fps = fps
        self._period = SECOND / fps
        self._streams: dict[bool, _Stream] = {}  # by whether it is the agent's

    def process(self, frame: Video | Interrupt) -> Iterator[Video]:
        """Give the frame, the very same, if it is due."""
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
