"""A provider added from outside the package: what its messages mean, and what it can do. The rest is shared."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio

from bargein.pipeline import Text
from bargein.pipeline.testing import run_virtual
from bargein.services.realtime import (
    Event,
    Profile,
    Protocol,
    Realtime,
    ResponseOver,
    SessionReady,
    Settings,
    TextPiece,
)
from bargein.services.sockets import Endpoint, Socket, pipe


class Echo(Protocol):  # no I/O in it, so its tests need no event loop; one instance serves one connection
    profile = Profile(provider="Echo", input_rate=16_000, output_rate=16_000)  # what is not said, it cannot do

    def endpoint(self) -> Endpoint:
        return Endpoint(url="wss://echo.invalid")  # given to `connect`; keys would be in its headers

    def open_session(self, settings: Settings) -> Iterable[str]:
        return ()  # this provider greets first, and wants to know nothing

    def text(self, text: str, item_id: str = "") -> Iterable[str]:
        yield json.dumps({"do": "hear", "text": text})

    def respond(self, instructions: str = "") -> Iterable[str]:
        yield json.dumps({"do": "answer"})  # apart from `text`: it waits while a response is being made

    def receive(self, data: str | bytes) -> Iterable[Event]:  # a real one gives a ProtocolFault for what is no JSON
        match json.loads(data):  # what is unknown matches nothing, so that the provider may learn new words
            case {"is": "ready"}:
                yield SessionReady(session_id="echo")  # nothing but the opening is sent before this
            case {"is": "reply", "id": str(name), "text": str(text)}:
                yield TextPiece(response_id=name, item_id="", text=text)  # the first of a new name begins the response
                yield ResponseOver(response_id=name)


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:  # in place of a WebSocket: the provider, in memory
    async def echo() -> None:
        await there.send('{"is": "ready"}')
        heard, _ = [json.loads(await there.receive()) for _ in ("hear", "answer")]
        await there.send(json.dumps({"is": "reply", "id": "r1", "text": f"You said: {heard['text']}"}))

    here, there = pipe()
    async with anyio.create_task_group() as group:
        group.start_soon(echo)
        yield here


async def main() -> None:
    model = Realtime(profile=Echo.profile, protocol=Echo, settings=Settings(model="echo-1"), connect=connect)
    async with model.connect() as conversation:
        await conversation.send_text("Is anybody there?")
        print(await anext(frame.text async for frame in conversation if isinstance(frame, Text)))


if __name__ == "__main__":
    run_virtual(main)
