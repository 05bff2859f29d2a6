"""Sessions leave nothing behind: no task, no socket, no thread, no memory; whether they end well or not.

`BARGEIN_EXTENDED=1` has a thousand of them on each backend, and fifty without.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import tracemalloc
from contextlib import suppress

import anyio
import pytest
import sniffio
import trio
from trio._core._run import GLOBAL_RUN_CONTEXT

from bargein.pipeline import Audio, Interrupt, Pipeline, ResponseEnded, UserText
from bargein.processors import Spoken
from bargein.services.sockets import Endpoint, SocketClosedError, dial
from bargein.services.transports import SessionLimits, Transport, connect_websocket, serve_websocket
from bargein.services.transports.control import Start, encode_start
from tests.environment import amount

from .kit import Brain, threads, until

COUNT = amount(50, 1_000)
AT_ONCE = 10
KEPT, SLACK = 300, 150_000
"""Bytes that a session, and all together, may leave behind in what libraries cache; a session itself has 40,000."""


def agent(transport: Transport) -> Pipeline:
    return Pipeline(transport.source, Brain(ms=40), Spoken(), transport.sink)


async def visit(url: str, number: int) -> None:
    """One peer, of several manners."""
    manner = number % 5
    if manner == 0:  # asks and says goodbye
        async with connect_websocket(url) as client:
            await client.send(UserText(text="Hello."))
            await until(client, ResponseEnded)
    elif manner == 1:  # interrupts
        async with connect_websocket(url) as client:
            await client.send(UserText(text="Hello."))
            await until(client, Audio)
            await client.send(Interrupt(reason="stop"))
            await until(client, Interrupt)
    elif manner == 2:  # makes the agent fail
        async with connect_websocket(url) as client:
            await client.send(UserText(text="die"))
            with suppress(SocketClosedError):
                await until(client, ResponseEnded)
    else:  # vanishes in the middle, or sends nonsense
        async with dial(Endpoint(url=url)) as socket:
            with suppress(SocketClosedError):
                if manner == 3:
                    await socket.send(encode_start(Start()))
                    await socket.send('{"type": "text", "text": "Hello."}')
                    await socket.receive()
                else:
                    for _ in range(20):
                        await socket.send(random.Random(number).randbytes(30))


def tasks() -> int:
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def forget_deadlines() -> None:
    """Have trio let go of the deadlines that were called off; it keeps up to a thousand, with their cancel scopes."""
    if sniffio.current_async_library() == "trio":
        GLOBAL_RUN_CONTEXT.runner.deadlines._prune()  # only looks at memory: where it is gone, drop this function


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts what is open as Linux shows it")
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nothing_is_left_behind(backend: str) -> None:
    """After the first round has filled what is cached, nothing grows."""

    async def round_of(url: str, count: int) -> None:
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def one(number: int) -> None:
            async with limiter:
                await visit(url, number)

        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(one, number)

    async def soak() -> None:
        async with serve_websocket(agent, limits=SessionLimits(max_sessions=2 * AT_ONCE)) as server:

            async def settled(*least: int) -> list[int]:
                """What is there when the last of them has closed its socket, which may take a moment."""
                counted = [-1, -1, -1]
                with anyio.move_on_after(10):
                    while counted[:3] != list(least):
                        await anyio.sleep(1.5 if not least else 0.1)
                        counted = [tasks(), files(), threads()]
                        least = least or tuple(counted)
                server.sessions.failures.clear()
                forget_deadlines()
                gc.collect()
                return [*counted, tracemalloc.get_traced_memory()[0]]

            await round_of(server.url, 20)
            before = await settled()
            await round_of(server.url, COUNT)
            after = await settled(*before[:3])
            assert after[:3] == before[:3], "tasks, files, threads of our own"
            assert after[3] - before[3] < SLACK + KEPT * COUNT, "bytes"
            assert server.sessions.statistics().failed == 4 + COUNT // 5

    tracemalloc.start()
    try:
        anyio.run(soak, backend=backend)
    finally:
        tracemalloc.stop()
