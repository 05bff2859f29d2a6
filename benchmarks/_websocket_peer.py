"""Peers of an agent, or of a bare echo, in their own process: they speak all the time, and read what comes.

`_websocket_peer.py load URL COUNT SECONDS`: so many at once, in real time; prints how many messages came.
`_websocket_peer.py cut URL TIMES` and `speak URL TIMES`: asks for a long answer, and while it comes sends an interrupt,
or speech; prints after how many milliseconds the last sound of the answer came.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import anyio
import numpy as np

from bargein.pipeline import Audio, Interrupt, UserText
from bargein.pipeline.testing import noise, speech_like
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, dial
from bargein.services.transports import WebSocketClient, connect_websocket
from bargein.services.transports.control import Start, encode_start
from bargein.services.transports.websocket._wire import pack

RATE, PIECE = 16_000, 320
SPEECH = speech_like(4000, rate=RATE)


async def load(url: str, count: int, seconds: float) -> int:
    came = 0

    async def read(socket: Socket) -> None:
        nonlocal came
        with suppress(SocketClosedError):
            while True:
                data = await socket.receive()
                came += isinstance(data, bytes)

    async def one(number: int) -> None:
        await anyio.sleep(0.02 * number / count)
        async with dial(Endpoint(url=url)) as socket, anyio.create_task_group() as group:
            await socket.send(encode_start(Start()))
            group.start_soon(read, socket)
            began = anyio.current_time()
            for piece in range(round(seconds * 50)):
                at = PIECE * piece % (len(SPEECH) - PIECE)
                await socket.send(pack(Audio(samples=SPEECH[at : at + PIECE], rate=RATE), piece, 0))
                await anyio.sleep_until(began + 0.02 * (piece + 1))
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(one, number)
    return came


async def react(url: str, times: int, *, speaks: bool) -> list[float]:
    """Milliseconds from the beginning of speech, or from the interrupt, to the last sound of the answer."""
    reactions = []
    for _ in range(times):
        async with connect_websocket(url) as client:
            last = 0.0

            async def listen(client: WebSocketClient) -> None:
                nonlocal last
                async for frame in client:
                    if isinstance(frame, Audio):
                        last = anyio.current_time()

            async with anyio.create_task_group() as group:
                group.start_soon(listen, client)
                await client.send(UserText(text="Tell me a story."))
                await client.speak(noise(1500, dbfs=-60), RATE)
                began = anyio.current_time()
                if speaks:
                    await client.speak(SPEECH[:RATE], RATE)
                else:
                    await client.send(Interrupt(reason="stop"))
                    await anyio.sleep(0.3)
                reactions.append(1000 * max(0.0, last - began))
                group.cancel_scope.cancel()
    return reactions


async def main() -> None:
    kind, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "load":
        print(json.dumps(await load(url, count, float(sys.argv[4]))))
    else:
        print(json.dumps(np.round(await react(url, count, speaks=kind == "speak"), 1).tolist()))


anyio.run(main)
