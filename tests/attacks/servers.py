"""Every server that the project ships, on the loopback, with an honest client for each."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import anyio

from bargein.pipeline import Pipeline, Processor, ResponseEnded, UserText
from bargein.processors import Spoken
from bargein.services.providers.openai.server.serve import Limits, serve
from bargein.services.server import serve_page
from bargein.services.sockets import Endpoint, dial
from bargein.services.testing import ScriptedBrain
from bargein.services.transports import SessionLimits, Transport, connect_websocket, serve_websocket
from bargein.services.transports.telephony import accept_twilio
from tests.services.transports.kit import until

__all__ = ["SERVERS", "MakeBrain", "Target", "raw_upgrade"]

MakeBrain = Callable[[], Processor]
OPEN_SECONDS = 0.5
"""Time that a client has for its first words, in the servers under attack."""
ORIGINS = ["https://example.com"]
"""A page that may talk to the servers. It makes their peers strangers, who are told no details."""


class Target(NamedTuple):
    """A running server."""

    port: int
    path: str
    """The path of its WebSocket."""
    opening: tuple[str, ...]
    """The messages with which a session begins."""
    text: str
    """A message that asks something, or the nearest thing."""
    ask: Callable[[], Awaitable[None]]
    """Hold an honest conversation."""

    @property
    def url(self) -> str:
        """The address of its WebSocket."""
        return f"ws://127.0.0.1:{self.port}{self.path}"


def hello() -> Processor:
    return ScriptedBrain("Hello.", word_ms=20)


def agent(make_brain: MakeBrain) -> Callable[[Transport], Pipeline]:
    return lambda peer: Pipeline(peer.source, make_brain(), Spoken(), peer.sink)


def limits() -> SessionLimits:
    return SessionLimits(open_seconds=OPEN_SECONDS)


START = '{"type": "start", "rate": 16000}'
TEXT = '{"type": "text", "text": "Hello."}'


def talk(url: str) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        async with connect_websocket(url) as client:
            await client.send(UserText("Hello."))
            await until(client, ResponseEnded)

    return ask


@asynccontextmanager
async def page(make_brain: MakeBrain = hello) -> AsyncIterator[Target]:
    async with serve_page(agent(make_brain), port=0, limits=limits(), origins=ORIGINS) as server:
        yield Target(server.port, "/ws", (START,), TEXT, talk(f"ws://127.0.0.1:{server.port}/ws"))


@asynccontextmanager
async def websocket(make_brain: MakeBrain = hello) -> AsyncIterator[Target]:
    async with serve_websocket(agent(make_brain), limits=limits(), origins=ORIGINS) as server:
        yield Target(server.port, "/", (START,), TEXT, talk(server.url))


FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
CALL = {"accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"], "mediaFormat": FORMAT}
DIAL = (json.dumps({"event": "connected"}), json.dumps({"event": "start", "streamSid": "MZ1", "start": CALL}))
SILENCE = base64.b64encode(b"\xff" * 160).decode()
MEDIA = json.dumps({"event": "media", "streamSid": "MZ1", "media": {"track": "inbound", "payload": SILENCE}})


@asynccontextmanager
async def telephone(make_brain: MakeBrain = hello) -> AsyncIterator[Target]:
    paths = {"/twilio": accept_twilio}
    async with serve_websocket(agent(make_brain), paths=paths, limits=limits(), origins=ORIGINS) as server:

        async def ask() -> None:
            async with dial(Endpoint(url=f"{server.url}/twilio")) as socket:
                for message in (*DIAL, *[MEDIA] * 10):
                    await socket.send(message)
                with anyio.fail_after(30):
                    while not server.sessions.live:  # noqa: ASYNC110  # a caller who says nothing is told nothing
                        await anyio.sleep(0.01)

        yield Target(server.port, "/twilio", DIAL, MEDIA, ask)


CREATE = json.dumps({"type": "response.create"})


@asynccontextmanager
async def openai(make_brain: MakeBrain = hello) -> AsyncIterator[Target]:
    bounds = Limits(open_seconds=OPEN_SECONDS, first_message_seconds=OPEN_SECONDS)
    async with serve(make_brain, limits=bounds, origins=ORIGINS) as server:
        path = "/v1/realtime?model=any"

        async def ask() -> None:
            async with dial(Endpoint(url=f"ws://127.0.0.1:{server.port}{path}")) as socket:
                await socket.send(CREATE)
                with anyio.fail_after(30):
                    while json.loads(await socket.receive())["type"] != "response.done":
                        pass

        yield Target(server.port, path, (), CREATE, ask)


SERVERS: dict[str, Callable[..., AbstractAsyncContextManager[Target]]] = {
    "page": page,
    "websocket": websocket,
    "telephone": telephone,
    "openai": openai,
}


async def raw_upgrade(target: Target) -> anyio.abc.SocketStream:
    """Open a WebSocket by hand: no client lets one break its rules."""
    stream = await anyio.connect_tcp("127.0.0.1", target.port)
    lines = [f"GET {target.path} HTTP/1.1", f"Host: 127.0.0.1:{target.port}", "Upgrade: websocket"]
    key = base64.b64encode(bytes(16)).decode()
    lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    await stream.send("\r\n".join(lines).encode())
    assert b" 101 " in await stream.receive()
    return stream
