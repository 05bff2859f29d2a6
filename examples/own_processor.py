"""Your own sync processor and its unit test, which needs no engine, no mock and no event loop."""

from collections.abc import Iterator

import numpy as np

from bargein import Audio, Pipeline, Processor
from bargein.pipeline.testing import Scripted, framed, tone


class Gain(Processor):
    """Scale audio by a fixed number of decibels."""

    def __init__(self, decibels: float) -> None:
        self.factor = 10 ** (decibels / 20)

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame.scaled(self.factor)


class Peak(Processor):
    """A sink that remembers the greatest sample."""

    highest = 0

    def process(self, frame: Audio) -> None:
        self.highest = max(self.highest, int(np.max(np.abs(frame.samples.astype(int)))))


def test_gain_doubles_at_six_decibels() -> None:
    (frame,) = framed(tone(ms=20, dbfs=-20))
    (louder,) = Gain(6.0206).process(frame)
    assert np.allclose(louder.samples, 2 * frame.samples, atol=1)


async def main() -> None:
    test_gain_doubles_at_six_decibels()
    peak = Peak()
    await Pipeline(Scripted(*framed(tone(dbfs=-20))), Gain(6), peak).run()
    print(f"peak: {peak.highest} of 32767")


if __name__ == "__main__":
    import anyio

    anyio.run(main)
