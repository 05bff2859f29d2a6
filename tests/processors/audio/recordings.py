"""Sound with known values, and recordings read back."""

from __future__ import annotations

import itertools
import os
import wave
from collections.abc import Callable

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import Audio, Outlet, Processor
from bargein.pipeline.testing import framed
from bargein.processors.audio.recorder import Recorder

RATE = 16_000
Samples = npt.NDArray[np.int16]


def read(path: str | os.PathLike[str]) -> tuple[Samples, Samples]:
    """User and agent, as any reader of WAV files sees them."""
    with wave.open(os.fspath(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        assert len(both) == file.getnframes()
    return both[:, 0].copy(), both[:, 1].copy()


def sound(value: int, count: int, *, pts: float = 0, response: str = "") -> Audio:
    """A frame whose every sample has one value, at so many seconds."""
    samples = np.full(count, value, np.int16)
    return Audio(samples=samples, rate=RATE, pts=round(pts * 1e9), response_id=response)


def runs(samples: Samples) -> list[tuple[int, int, int]]:
    """Where the sounds begin and end, and their value."""
    edges = [0, *(np.flatnonzero(np.diff(samples)) + 1).tolist(), len(samples)]
    return [(a, b, int(samples[a])) for a, b in itertools.pairwise(edges) if a < b and samples[a]]


def record(recorder: Recorder, *frames: Audio) -> None:
    """Record user frames outside an event loop, where no time passes."""
    with recorder.user:
        for frame in frames:
            list(recorder.user.process(frame))


class Mute(Processor):
    """Answers nothing, and keeps the user's sound from the agent's end."""

    def process(self, frame: Audio) -> None: ...


class Brain(Processor):
    """Answers the user's first sound after each given pause."""

    def __init__(self, say: Callable[[int], Samples], *at: float, rate: int = RATE) -> None:
        self.say = say
        self.at = at
        self.rate = rate
        self.begun = False

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        if not self.begun:
            self.begun = True
            out.respond(self.answer)

    async def answer(self, reply: Outlet[Audio]) -> None:
        start = anyio.current_time()
        for number, at in enumerate(self.at):
            await anyio.sleep_until(start + at)
            for frame in framed(self.say(number), rate=self.rate, response_id=f"r{number}"):
                await reply.send(frame)
