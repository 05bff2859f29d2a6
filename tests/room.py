"""A simulated room: a loudspeaker, a microphone, the way between them, and a user who speaks."""

from __future__ import annotations

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import Audio, End, Interrupt, Outlet, Processor, ResponseEnded, ResponseStarted, UserText
from bargein.pipeline.lowlevel import Samples, ns
from bargein.pipeline.testing import Harness, framed
from bargein.processors import Resample

from .speech import utterances

Floats = npt.NDArray[np.float64]

FRAME_MS = 20


def impulse(rate: int, *, rt60_ms: float, db: float, seed: int) -> Floats:
    """The answer of a room to a click: a direct sound, and noise that dies away by 60 dB in `rt60_ms`."""
    count = round(rate * rt60_ms / 1000)
    tail = np.random.default_rng(seed).standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[0] = 3.0
    return np.asarray(tail * 10 ** (db / 20) / np.sqrt(np.sum(tail**2)))


def speech(*names: str, rate: int = 16_000, dbfs: float = -23.0) -> Samples:
    """Utterances in a row, 200 ms apart, at a level."""
    parts = [np.concatenate([utterances()[name].samples, np.zeros(3200, np.int16)]) for name in names]
    said = np.concatenate(parts).astype(float)
    said *= 32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(said[np.abs(said) > 50] ** 2))
    frame = Audio(np.clip(np.rint(said), -32768, 32767).astype(np.int16), 16_000)
    if rate == 16_000:
        return frame.samples
    resample = Resample(rate)
    pieces = [*resample.process(frame), *resample.process(End())]
    return np.concatenate([piece.samples for piece in pieces if isinstance(piece, Audio)])


class Loudspeaker(Processor):
    """Plays what comes at once and in order, as a device does, and drops what waits at an interrupt."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.began: float | None = None
        self.line = np.zeros(rate)
        self.end = 0  # samples since it began, up to which something was put

    def start(self) -> float:
        """The time at which it began, which is now if it has not."""
        self.began = anyio.current_time() if self.began is None else self.began
        return self.began

    def process(self, frame: Audio | Interrupt) -> None:
        now = round((anyio.current_time() - self.start()) * self.rate)
        if isinstance(frame, Interrupt):
            self.end = min(self.end, now)
            self.line[self.end :] = 0
        else:
            assert frame.rate == self.rate
            at = max(now, self.end)
            self.end = at + len(frame.samples)
            if self.end > len(self.line):
                self.line = np.concatenate([self.line, np.zeros(self.end)])
            self.line[at : self.end] = frame.samples

    def played(self, start: int, end: int) -> Floats:
        """The samples of a stretch; silence where nothing was played."""
        part = self.line[max(0, start) : max(0, end)]
        before = np.zeros(max(0, min(end, 0) - start))
        return np.concatenate([before, part, np.zeros(end - start - len(before) - len(part))])


class Agent(Processor):
    """Says one thing for each `UserText`, and keeps what it hears."""

    def __init__(self, says: Samples, rate: int) -> None:
        self.says, self.rate = says, rate
        self.heard: list[Audio] = []
        self.count = 0

    async def process(self, frame: Audio | UserText, out: Outlet[ResponseStarted | Audio | ResponseEnded]) -> None:
        if isinstance(frame, Audio):
            self.heard.append(frame)
        else:
            self.count += 1
            out.respond(self._speak, f"r{self.count}")

    async def _speak(self, out: Outlet[ResponseStarted | Audio | ResponseEnded], response: str) -> None:
        await out.send(ResponseStarted(response_id=response))
        for frame in framed(self.says, rate=self.rate, response_id=response):
            await out.send(frame)
        await out.send(ResponseEnded(response_id=response))


class Room:
    """Records, every 20 ms, the echo of the loudspeaker, the user's voice, and the noise of the room."""

    def __init__(
        self,
        *,
        rate: int = 16_000,
        delay_ms: float = 60.0,
        db: float = -6.0,
        rt60_ms: float = 200.0,
        drift_ppm: float = 0.0,
        frame_ms: float = FRAME_MS,
        jitter_ms: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.rate, self.frame_ms, self.drift = rate, frame_ms, drift_ppm / 1e6
        self.way = impulse(rate, rt60_ms=rt60_ms, db=db, seed=seed)
        self.delay = round(rate * delay_ms / 1000)
        self.loudspeaker = Loudspeaker(rate)
        self.jitter = jitter_ms / 1000
        self.random = np.random.default_rng(seed + 1)
        self.user: dict[int, Samples] = {}  # by the sample at which it begins
        self.taken = 0  # samples that the microphone has taken
        self.echo: list[Floats] = []

    def says(self, at_ms: float, samples: Samples) -> None:
        self.user[round(at_ms * self.rate / 1000)] = samples

    async def live(self, harness: Harness, ms: float) -> None:
        """Let the microphone record for a while."""
        count = round(self.frame_ms * self.rate / 1000)
        until = self.taken + round(ms * self.rate / 1000)
        began = self.loudspeaker.start()
        while self.taken + count <= until:
            at = began + (self.taken + count) / (self.rate * (1 + self.drift))
            await anyio.sleep_until(at + self.jitter * self.random.random())
            harness.session.offer(self.record(count))

    def record(self, count: int) -> Audio:
        first, self.taken = self.taken, self.taken + count
        # The microphone's own clock may be faster than the loudspeaker's.
        places = np.arange(first, first + count) / (1 + self.drift) - self.delay
        low, high, tail = int(np.floor(places[0])), int(places[-1]) + 2, len(self.way) - 1
        played = self.loudspeaker.played(low - tail, high)
        size = 1 << (len(played) + tail).bit_length()
        echo = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(self.way, size), size)[tail : tail + high - low]
        sound = np.interp(places, np.arange(low, high), echo)
        self.echo.append(sound.copy())
        sound += self.random.standard_normal(count) * 8  # -72 dBFS
        for at, said in self.user.items():
            part = said[max(0, first - at) : max(0, first + count - at)]
            into = max(0, at - first)
            sound[into : into + len(part)] += part[: max(0, count - into)]
        pcm = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
        return Audio(pcm, self.rate, pts=ns(first, self.rate))


def removed_db(room: Room, heard: list[Audio], start_ms: float, end_ms: float, *, late_ms: float = 8.0) -> float:
    """How much less of the echo is heard between two times, in decibels."""
    stretch = slice(round(start_ms * room.rate / 1000), round(end_ms * room.rate / 1000))
    late = slice(stretch.start + round(late_ms * room.rate / 1000), stretch.stop)
    echo = np.concatenate(room.echo)[stretch]
    left = np.concatenate([frame.samples for frame in heard])[late].astype(float)
    return float(10 * np.log10(np.mean(echo**2) / (np.mean(left**2) + 1e-9)))
