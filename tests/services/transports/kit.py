"""An agent that does as it is told, and a peer on a pipe to it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from bargein.pipeline import Audio, Frame, Outlet, Pipeline, Processor, ResponseEnded, ResponseStarted, Text, UserText
from bargein.pipeline.testing import framed, tone
from bargein.processors import Spoken
from bargein.services.cascade import Cascade
from bargein.services.sockets import Socket, SocketClosedError, pipe
from bargein.services.transports import (
    ConnectionRequest,
    Ending,
    SessionLimits,
    Sessions,
    Transport,
    WebSocketClient,
    serve_websocket_peer,
)
from bargein.services.transports.control import Start
from tests.services.cascade.parts import Ears, Mind, Voice

SPOKEN_MS = 2_000


class Brain(Processor):
    """Says what was typed, in two seconds of a tone; `die` raises. Hears the user's sound, and keeps it."""

    def __init__(self, ms: float = SPOKEN_MS, rate: int = 16_000) -> None:
        self.ms = ms
        self.rate = rate
        self.heard: list[Audio] = []
        self.numbers = 0

    async def process(
        self, frame: UserText | Audio, out: Outlet[ResponseStarted | Text | Audio | ResponseEnded]
    ) -> None:
        if isinstance(frame, Audio):
            self.heard.append(frame)
            return
        if frame.text == "die":
            raise RuntimeError("as asked")
        self.numbers += 1
        out.respond(self.speak, f"r{self.numbers}", frame.text)

    async def speak(
        self, reply: Outlet[ResponseStarted | Text | Audio | ResponseEnded], response: str, words: str
    ) -> None:
        await reply.send(ResponseStarted(response_id=response))
        await reply.send(Text(text=words, response_id=response, final=True))
        for piece in framed(tone(300, self.ms, rate=self.rate), rate=self.rate, response_id=response):
            await reply.send(
                Audio(samples=piece.samples, rate=piece.rate, pts=piece.pts, response_id=response, epoch=reply.epoch)
            )
        await reply.send(ResponseEnded(response_id=response))


def agent(transport: Transport) -> Pipeline:
    return Pipeline(transport.source, Brain(), Spoken(), transport.sink)


class RememberingAgent:
    """A cascade that greets, and what its models were asked."""

    def __init__(self, *above: Processor, **limits: float) -> None:
        self.above = above
        self.minds: list[Mind] = []
        self.sessions = Sessions(self.build, limits=SessionLimits(**limits))  # type: ignore[arg-type]

    def build(self, peer: Transport) -> Pipeline:
        self.minds.append(Mind(["Yes."]))
        brain = Cascade(Ears(), self.minds[-1], Voice(), greeting="Hello!")
        return Pipeline(peer.source, *self.above, brain, Spoken(), peer.sink)


class Served:
    """A session on a pipe, and how it ended."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.ending: Ending | None = None
        self.over = anyio.Event()


@asynccontextmanager
async def served(sessions: Sessions, *, capacity: int = 64, **options: Any) -> AsyncIterator[Served]:
    """The peer's end of a pipe whose other end is served."""
    ours, theirs = pipe(capacity)
    each = Served(ours)

    async def serve() -> None:
        each.ending = await serve_websocket_peer(theirs, sessions, ConnectionRequest(limits=sessions.limits, **options))
        each.over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        try:
            yield each
        finally:
            await ours.close()
            with anyio.fail_after(60):
                await each.over.wait()


@asynccontextmanager
async def connected(sessions: Sessions, start: Start | None = None, **options: Any) -> AsyncIterator[WebSocketClient]:
    """A client whose session runs."""
    async with served(sessions, **options) as each:
        yield await WebSocketClient.begin(each.socket, start)


POOLS = ("asyncio_", "AnyIO worker thread", "Trio thread ")
"""How the names of the threads begin that an event loop keeps for a while, to look up addresses and the like."""


def threads() -> int:
    """Return how many threads run, but for the pools of the event loops: their size depends on what came at once."""
    return sum(not each.name.startswith(POOLS) for each in threading.enumerate())


async def rest(client: WebSocketClient) -> list[Frame]:
    """All that comes until the session has ended."""
    return [frame async for frame in client]


async def until(client: WebSocketClient, kind: type[Frame]) -> list[Frame]:
    """All that comes, up to the first of this class."""
    frames: list[Frame] = []
    async for frame in client:
        frames.append(frame)
        if isinstance(frame, kind):
            return frames
    raise SocketClosedError(1006, client.ended)
