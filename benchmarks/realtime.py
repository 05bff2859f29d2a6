"""Measure what a realtime conversation costs.

The first measure is CPU time for each second of conversation, over a real WebSocket on the loopback. In each second
the user sends 50 frames of 20 ms, resampled from 16 kHz to 24 kHz. The reply is as long: it comes in deltas of 100 ms
at 24 kHz with its words, and leaves at 16 kHz. This is measured three times: one conversation as fast as possible,
several in real time, and several in real time with the reply cut into 20 ms and paced. The floor does the same by
hand, with the same socket library, structs and resampler. The server is a script in its own process
(`_realtime_peer.py`), so its time does not count.

The second measure is how long after an interrupt stale audio still arrives at the end, while the server sends as fast
as it is read.
"""

from __future__ import annotations

import gc
import importlib
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import anyio
import av
import numpy as np
import numpy.typing as npt
import sniffio
from _kit import best, clock, options, run, show

from bargein.pipeline import Audio, Pipeline, Processor, ResponseEnded, ResponseStarted, Session, Text, Transcript
from bargein.processors import Pacer, Resample, Spoken
from bargein.services.frames import Connected, Respond
from bargein.services.providers.openai import wire as _wire
from bargein.services.providers.openai.client.realtime import OpenAIRealtime

MICROPHONE, WIRE, SPEAKER = 16_000, 24_000, 16_000
FRAME, PIECES = 0.020, 5
"""Length of a frame of the microphone in seconds, and how many of them are as long as a delta."""
LEAD = 0.040
"""How far ahead of playback the paced reply is given, in seconds."""
WARM = 0.3
"""Time before measuring begins, in seconds, so that all conversations have started."""
HELD_BACK = 200
"""Maximum number of samples that a resampler may hold back until the reply has ended."""

Samples = npt.NDArray[np.int16]


@contextmanager
def peer() -> Iterator[str]:
    """Run the server for the time of the block, which gets its address."""
    script = Path(__file__).with_name("_realtime_peer.py")
    with subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}/v1/realtime"
        finally:
            process.stdin.close()


class Reply:
    """What has arrived at the end of the graph."""

    def __init__(self) -> None:
        self.samples = 0
        self.ready = self.over = False
        self.changed = anyio.Event()

    def tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def reaches(self, samples: int) -> None:
        while self.samples < samples - HELD_BACK and not self.over:
            await self.changed.wait()


class Call(Protocol):
    """One conversation, with the engine or by hand."""

    reply: Reply

    async def hear(self, samples: Samples, pts: int) -> None:
        """Send 20 ms from the microphone."""

    async def ask(self) -> None:
        """Request an answer."""


# With the engine ------------------------------------------------------------------------------------------------------


class End(Processor):
    """The end of the graph, which notes what arrives."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def process(self, frame: Audio | Text | Transcript | ResponseStarted | ResponseEnded | Connected) -> None:
        if isinstance(frame, Audio):
            self.reply.samples += len(frame.samples)
        elif isinstance(frame, ResponseEnded):
            self.reply.over = True
        elif isinstance(frame, Connected):
            self.reply.ready = True
        else:
            return
        self.reply.tell()


class Engine:
    """A conversation in a session of the engine."""

    def __init__(self, session: Session, reply: Reply) -> None:
        self.session = session
        self.reply = reply

    async def hear(self, samples: Samples, pts: int) -> None:
        await self.session.send(Audio(samples=samples, rate=MICROPHONE, pts=pts))

    async def ask(self) -> None:
        await self.session.send(Respond())


def graph(url: str, end: Processor, *, paced: bool, model: str = "script") -> Pipeline:
    """Return the graph from the microphone to the speaker."""
    brain = OpenAIRealtime(model, url=url, api_key="x", turn_detection=None, transcription=None)
    pacer = (Pacer(lead_ms=LEAD * 1000),) if paced else ()
    return Pipeline(Resample(WIRE), brain, Spoken(), *pacer, Resample(SPEAKER), end)


@asynccontextmanager
async def engine(url: str, *, paced: bool) -> AsyncIterator[Call]:
    reply = Reply()
    async with graph(url, End(reply), paced=paced).session() as session:
        while not reply.ready:
            await reply.changed.wait()
        yield Engine(session, reply)
        await session.cancel()


# By hand --------------------------------------------------------------------------------------------------------------


class Converter:
    """Converts samples to another rate."""

    def __init__(self, rate: int, to: int) -> None:
        self.rate = rate
        self.swr = av.AudioResampler(format="s16", layout="mono", rate=to)

    def convert(self, samples: Samples) -> Iterator[Samples]:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self.rate
        for made in self.swr.resample(frame):
            piece: Samples = made.to_ndarray().reshape(-1)  # type: ignore[assignment]
            yield piece


class Bare:
    """A conversation by hand, in two or three loops."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.reply = Reply()
        self.microphone = Converter(MICROPHONE, WIRE)
        self.speaker = Converter(WIRE, SPEAKER)
        self.text = ""
        self.pieces: deque[Samples] = deque()  # not due yet
        self.more = anyio.Event()

    async def hear(self, samples: Samples, pts: int) -> None:
        for piece in self.microphone.convert(samples):
            await self.socket.send(_wire.encode(_wire.AudioAppend(audio=piece.tobytes())))

    async def ask(self) -> None:
        await self.socket.send(_wire.encode(_wire.ResponseCreate()))

    async def read(self, take: Callable[[Samples], None]) -> None:
        while True:
            event = _wire.decode_server_event(await self.socket.recv())
            if isinstance(event, _wire.AudioDelta):
                take(np.frombuffer(event.delta, np.int16))
            elif isinstance(event, _wire.TranscriptDelta):
                self.text += event.delta
            elif isinstance(event, _wire.ResponseDone):
                self.speaker = Converter(WIRE, SPEAKER)
                self.text = ""
                self.reply.over = True
                self.reply.tell()

    def give(self, samples: Samples) -> None:
        for piece in self.speaker.convert(samples):
            self.reply.samples += len(piece)
            self.reply.tell()

    def keep(self, samples: Samples) -> None:
        step = round(WIRE * FRAME)
        self.pieces.extend(samples[at : at + step] for at in range(0, len(samples), step))
        self.more.set()

    async def pace(self) -> None:
        due = 0.0
        while True:
            while self.pieces:
                due = max(due, anyio.current_time())
                self.give(self.pieces.popleft())
                due += FRAME
                await anyio.sleep_until(due - LEAD)
            self.more = anyio.Event()
            await self.more.wait()


@asynccontextmanager
async def bare(url: str, *, paced: bool) -> AsyncIterator[Call]:
    client = importlib.import_module(f"websockets.{sniffio.current_async_library()}.client")
    async with client.connect(f"{url}?model=script", compression=None, close_timeout=1) as socket:
        call = Bare(socket)
        await socket.send(_wire.encode(_wire.SessionUpdate(session={"type": "realtime"})))
        await socket.recv()
        async with anyio.create_task_group() as group:
            group.start_soon(call.read, call.keep if paced else call.give)
            if paced:
                group.start_soon(call.pace)
            yield call
            group.cancel_scope.cancel()


# What is measured -----------------------------------------------------------------------------------------------------

Open = Callable[..., Any]
VOICE: Samples = np.random.default_rng(2).normal(0, 3000, round(MICROPHONE * FRAME)).astype(np.int16)


async def fast(url: str, opened: Open, seconds: int) -> float:
    """Return CPU seconds for each second of conversation, as fast as possible. A delta is awaited after each 100 ms."""
    async with opened(url, paced=False) as call:
        gc.collect()
        since, pts = time.process_time(), 0
        await call.ask()
        for step in range(seconds * 10):
            for _ in range(PIECES):
                await call.hear(VOICE, pts)
                pts += round(FRAME * 1e9)
            await call.reply.reaches((step + 1) * SPEAKER // 10)
            if call.reply.over:
                call.reply.over = False
                await call.ask()
        return (time.process_time() - since) / seconds


async def live(url: str, opened: Open, calls: int, seconds: float, *, paced: bool) -> float:
    """Return CPU seconds for each second of conversation, in real time, with several conversations at once."""
    spent: list[float] = []
    ready = 0
    go = anyio.Event()

    async def one(shift: float) -> None:
        nonlocal ready
        async with opened(url, paced=paced) as call:
            ready += 1
            if ready == calls:
                go.set()
            await go.wait()
            await call.ask()
            at, pts = anyio.current_time() + shift, 0
            for _ in range(round((WARM + seconds + 0.2) / FRAME)):
                await anyio.sleep_until(at)
                await call.hear(VOICE, pts)
                at, pts = at + FRAME, pts + round(FRAME * 1e9)
                if call.reply.over:
                    call.reply.over = False
                    await call.ask()

    async def watch() -> None:
        await go.wait()
        gc.collect()
        await anyio.sleep(WARM)
        since, began = time.process_time(), clock()
        await anyio.sleep(seconds)
        spent.append((time.process_time() - since) / (clock() - began) / calls)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        for at in range(calls):
            group.start_soon(partial(one, FRAME * at / calls))
    return spent[0]


class Notes(Processor):
    """The end of the graph, which notes when audio of each epoch arrived last."""

    def __init__(self) -> None:
        self.latest: dict[int, float] = {}
        self.streams = anyio.Event()
        self.count = 0

    def begin(self) -> None:
        self.streams = anyio.Event()
        self.count = 0

    def process(self, frame: Audio | Text | Transcript | ResponseStarted | ResponseEnded | Connected) -> None:
        if isinstance(frame, Audio) and frame.response_id:
            self.latest[frame.epoch] = clock()
            self.count += 1
            if self.count == 4:
                self.streams.set()


async def interrupts(url: str, count: int, *, paced: bool) -> tuple[list[float], list[float]]:
    """Return for each interrupt how long the call took, and when the last stale audio arrived after it, in seconds."""
    calls, stale, notes = [], [], Notes()
    async with graph(url, notes, paced=paced, model="flood").session() as session:
        for _ in range(count):
            notes.begin()
            epoch = session.epoch
            await session.send(Respond())
            await notes.streams.wait()
            since = clock()
            session.interrupt()
            calls.append(clock() - since)
            await anyio.sleep(0.03)
            stale.append(max(0.0, notes.latest[epoch] - since))
        await session.cancel()
    return calls, stale


def main() -> None:
    arguments = options(__doc__)
    rounds, seconds, calls, lasts, count = (4, 6, 4, 0.3, 5) if arguments.quick else (24, 6, 20, 1.1, 50)

    with peer() as url:
        spent: dict[str, list[float]] = {}
        for name, opened in [("", engine), ("_floor", bare)] * rounds:
            spent.setdefault(f"fast{name}", []).append(run(arguments.backend, fast, url, opened, seconds))
        for name, opened in [("", engine), ("_floor", bare)] * max(1, rounds // 12):
            for kind, paced in {"live": False, "paced": True}.items():
                each = partial(live, paced=paced)
                spent.setdefault(kind + name, []).append(run(arguments.backend, each, url, opened, calls, lasts))
        took, stale = run(arguments.backend, partial(interrupts, paced=False), url, count)
        _, stale_paced = run(arguments.backend, partial(interrupts, paced=True), url, count)
    cpu = {name: best(times) for name, times in spent.items()}
    result: dict[str, Any] = {}
    for kind in ("fast", "live", "paced"):
        ours, floor = cpu[kind], cpu[f"{kind}_floor"]
        result |= {f"{kind}_us": 1e6 * ours, f"{kind}_floor_us": 1e6 * floor, f"{kind}_ratio": ours / floor}
    result |= {
        "conversations_a_core": round(1 / cpu["paced"]),
        "floor_conversations_a_core": round(1 / cpu["paced_floor"]),
        "interrupt_us": 1e6 * statistics.median(took),
        "stale_us_worst": 1e6 * max(stale),
        "stale_us_worst_paced": 1e6 * max(stale_paced),
    }
    costs = [
        f"{what}: {result[f'{kind}_us']:.0f} us of CPU, by hand {result[f'{kind}_floor_us']:.0f} us "
        f"({result[f'{kind}_ratio']:.2f} x)"
        for kind, what in {
            "fast": "a second of conversation, as fast as it goes",
            "live": f"in real time, {calls} at once",
            "paced": "and paced",
        }.items()
    ]
    line = "\n".join(costs) + (
        f"; a core carries {result['conversations_a_core']}, by hand {result['floor_conversations_a_core']}\n"
        f"from an interrupt to the last stale audio, {count} times: {result['stale_us_worst']:.0f} us at most, "
        f"{result['stale_us_worst_paced']:.0f} us paced; the call takes {result['interrupt_us']:.0f} us"
    )
    show(arguments, line, result)


if __name__ == "__main__":
    main()
