"""What does a conversation over a WebSocket cost?

CPU time for a second of a session, 20 at once in real time: 50 messages of 20 ms come, and as many go. The peers are in
their own process (`_websocket_peer.py`). The floor is a bare echo with `websockets`. Here the agent echoes as well,
which is read, given its place in time, released when it is due by the pacer, measured, and written; or speaks half of
the time; or only listens.

And how long after a peer begins to speak, or says that it wants silence, does the last sound of the answer come?
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from _agents import Echo, Talks
from _kit import options, run, show

from bargein.pipeline import Pipeline, Processor
from bargein.processors import BargeIn, Spoken, Vad, WebRtcVad
from bargein.services.sockets import Socket, SocketClosedError, listen
from bargein.services.transports import Transport, serve_websocket

COUNT, WARM = 20, 1.0
RATE, ASKED = 16_000, 40


@asynccontextmanager
async def bare() -> AsyncIterator[str]:
    """An echo by hand."""

    async def echo(socket: Socket, request: Any) -> None:
        try:
            await socket.receive()  # the start
            while True:
                await socket.send(await socket.receive())
        except SocketClosedError:
            pass

    async with listen(echo) as port:
        yield f"ws://127.0.0.1:{port}"


@asynccontextmanager
async def agent(make: Callable[[], list[Processor]]) -> AsyncIterator[str]:
    async with serve_websocket(lambda peer: graph(peer, make)) as server:
        yield server.url


def graph(peer: Transport, make: Callable[[], list[Processor]]) -> Pipeline:
    return Pipeline(peer.source, *make(), peer.sink)


async def peers(*arguments: object) -> Any:
    """What the other process says in the end."""
    script = Path(__file__).with_name("_websocket_peer.py")
    done = await anyio.run_process([sys.executable, str(script), *map(str, arguments)], stderr=None)
    return json.loads(done.stdout)


async def cost(server: Any, seconds: float) -> tuple[float, int]:
    """Milliseconds of CPU for a second of one session, and how many messages with sound went out a second of it."""
    used = came = 0.0
    async with server as url, anyio.create_task_group() as group:

        async def load() -> None:
            nonlocal came
            came = await peers("load", url, COUNT, seconds + 2 * WARM)

        group.start_soon(load)
        await anyio.sleep(2 * WARM)
        began, clock = time.process_time(), anyio.current_time()
        await anyio.sleep(seconds)
        used = (time.process_time() - began) / (anyio.current_time() - clock)
    return 1000 * used / COUNT, round(came / COUNT / (seconds + 2 * WARM))


AGENTS: dict[str, Callable[[], list[Processor]]] = {
    "echoes": lambda: [Echo()],
    "speaks half of the time": lambda: [Talks(0.5, rate=RATE, asked=ASKED)],
    "only listens": lambda: [Talks(0, rate=RATE, asked=ASKED)],
    "only listens, with an ear": lambda: [Vad(WebRtcVad()), Talks(0, rate=RATE, asked=ASKED)],
}


async def main(arguments: Any) -> None:
    seconds, times = (1.0, 2) if arguments.quick else (5.0, 8)
    floor, went = await cost(bare(), seconds)
    result: dict[str, Any] = {"floor_ms": floor}
    lines = [f"bare websockets, echo: {floor:.2f} ms of CPU a session-second ({went} messages)"]
    for name, make in AGENTS.items():
        used, went = await cost(agent(make), seconds)
        result[name] = used
        lines.append(
            f"an agent that {name}: {used:.2f} ms, {used / floor:.1f} x the floor, "
            f"{1000 / used:.0f} sessions a core ({went} messages)"
        )
    async with agent(lambda: [Vad(WebRtcVad()), BargeIn(), Talks(0, rate=RATE, asked=ASKED), Spoken()]) as url:
        for kind, what in (("cut", "an interrupt"), ("speak", "the beginning of speech")):
            reactions = await peers(kind, url, times)
            result[f"{kind}_ms"] = statistics.median(reactions)
            lines.append(
                f"from {what} to the last sound that came: {statistics.median(reactions):.1f} ms (median), "
                f"{max(reactions):.1f} (worst of {times})"
            )
    show(arguments, "\n".join(lines), result)


if __name__ == "__main__":
    given = options(__doc__)
    run(given.backend, main, given)
