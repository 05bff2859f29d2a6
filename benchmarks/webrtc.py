"""What does a conversation over WebRTC cost?

CPU time for a second of a session, with the peers in their own process (`_webrtc_peer.py`), which speak all the
time (as browsers do: they send silence, too). The floor is a bare echo with aiortc: what comes is decoded and encoded
again. Here the agent echoes as well, speaks half of the time, or only listens; with and without an ear, which is a
resampler and a voice activity detector.

And how long does it take from a peer's wish to interrupt until it hears silence? Over real sockets, up to the last
packet.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.to_thread
from _agents import Echo, Talks
from _kit import best, clock, options, run, show
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from bargein.pipeline import Pipeline, Processor
from bargein.processors import Resample, Vad, WebRtcVad
from bargein.services.transports import Sessions, Transport
from bargein.services.transports.webrtc import WebRtcServer

Answer = Callable[[str], Awaitable[str]]
RATE, ASKED = 24_000, 20


# The other side -------------------------------------------------------------------------------------------------------


class Peers:
    """A process with peers in it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout

    async def join(self, count: int, answer: Answer) -> None:
        self._say(count)
        for _ in range(count):
            self._say(await answer(await self._heard()))

    async def reactions(self, times: int) -> list[float]:
        self._say(times)
        return list(await self._heard())

    def _say(self, what: Any) -> None:
        print(json.dumps(what), file=self._in, flush=True)

    async def _heard(self) -> Any:
        return json.loads(await anyio.to_thread.run_sync(self._out.readline))


@contextmanager
def peers() -> Iterator[Peers]:
    """The process, while the block runs."""
    script = Path(__file__).with_name("_webrtc_peer.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Peers(process)
        assert process.stdin is not None
        process.stdin.close()


# The two sides compared -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def bare() -> AsyncIterator[Answer]:
    """aiortc by hand: every track is sent back."""
    connections: list[RTCPeerConnection] = []

    async def answer(offer: str) -> str:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connections.append(pc)

        @pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            pc.addTrack(track)

        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        return str(pc.localDescription.sdp)

    yield answer
    for pc in connections:
        await pc.close()


def served(*steps: Callable[[], Processor]) -> Callable[[], Any]:
    """A server whose sessions are made of these."""

    def build(peer: Transport) -> Pipeline:
        return Pipeline(peer.source, *(step() for step in steps), peer.sink)

    @asynccontextmanager
    async def serving() -> AsyncIterator[Answer]:
        async with WebRtcServer(Sessions(build)) as server:

            async def answer(offer: str) -> str:
                return (await server.offer(offer)).sdp

            yield answer

    return serving


async def cost(serving: Callable[[], Any], count: int, seconds: float) -> float:
    """Milliseconds of CPU for a second of one session."""
    with peers() as others:
        async with serving() as answer:
            await others.join(count, answer)
            await anyio.sleep(1)
            gc.collect()
            began, used = clock(), time.process_time()
            await anyio.sleep(seconds)
            return 1000 * (time.process_time() - used) / (clock() - began) / count


async def reaction(times: int) -> list[float]:
    with peers() as others:
        async with served(lambda: Talks(0, rate=RATE, asked=ASKED))() as answer:
            await others.join(1, answer)
            return await others.reactions(times)


ear = (lambda: Resample(16_000, channels=1), lambda: Vad(WebRtcVad()))
SCENES: dict[str, Callable[[], Any]] = {
    "aiortc's echo": bare,
    "echo": served(Echo),
    "speaks half of the time": served(lambda: Talks(0.5, rate=RATE, asked=ASKED)),
    "listens": served(lambda: Talks(0, rate=RATE, asked=ASKED)),
    "speaks half of the time, with an ear": served(*ear, lambda: Talks(0.5, rate=RATE, asked=ASKED)),
}


async def main(quick: bool) -> dict[str, Any]:
    count, seconds, times = (2, 1.0, 1) if quick else (4, 5.0, 3)
    costs: dict[str, list[float]] = {name: [] for name in SCENES}
    for _ in range(times):  # in turn, so that a neighbour disturbs them alike
        for name, serving in SCENES.items():
            costs[name].append(await cost(serving, count, seconds))
    reactions = await reaction(3 if quick else 20)
    return {
        "cpu_ms": {name: round(best(each), 2) for name, each in costs.items()},
        "reaction_ms": {"median": round(statistics.median(reactions), 1), "worst": round(max(reactions), 1)},
    }


if __name__ == "__main__":
    arguments = options(__doc__)
    result = run("asyncio" if arguments.backend == "trio" else arguments.backend, main, arguments.quick)
    floor = result["cpu_ms"]["aiortc's echo"]
    lines = [
        f"  {name:38s} {each:6.2f} ms a second, {1000 / each:4.0f} sessions a core, {each / floor:4.2f} x aiortc's echo"
        for name, each in result["cpu_ms"].items()
    ]
    silence = "from the wish to interrupt to silence: median {median} ms, worst {worst} ms".format(
        **result["reaction_ms"]
    )
    show(arguments, "\n".join(["webrtc", *lines, f"  {silence}"]), result)
