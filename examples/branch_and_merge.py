"""Branches: the same audio goes to two meters side by side, and their results merge."""

from collections.abc import Iterator

import anyio
import numpy as np

from bargein import Audio, Branch, Frame, Pipeline, Processor
from bargein.pipeline.testing import Scripted, framed, tone


class Level(Frame, frozen=True):
    """Your own frame is one small class."""

    what: str
    value: float


class Peak(Processor):
    def process(self, frame: Audio) -> Iterator[Level]:
        yield Level("peak", float(np.abs(frame.samples.astype(int)).max()))


class Rms(Processor):
    def process(self, frame: Audio) -> Iterator[Level]:
        yield Level("rms", float(np.sqrt(np.mean(frame.samples.astype(float) ** 2))))


class Print(Processor):
    def process(self, frame: Level) -> None:
        print(f"{frame.what:>5} {frame.value:8.1f}")


if __name__ == "__main__":
    anyio.run(Pipeline(Scripted(*framed(tone(ms=60))), Branch(Peak(), Rms()), Print()).run)
