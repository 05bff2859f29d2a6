"""Your own realtime provider: what its messages mean, and what it can do. Everything else is shared."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio

from bargein import Text
from bargein.services.realtime import Profile, Protocol, Realtime, ResponseOver, SessionReady, Settings, TextPiece
from bargein.services.sockets import Endpoint, Socket, pipe


class Echo(Protocol):  # no I/O, so its tests need no event loop; one instance for each connection
    profile = Profile(provider="Echo", input_rate=16_000, output_rate=16_000)  # all capabilities are off

    def endpoint(self) -> Endpoint:
        return Endpoint(url="wss://echo.invalid")  # goes to `connect`; a key would be in its headers

    def open_session(self, settings: Settings) -> Iterable[str]:
        return ()  # this provider greets first and needs no settings

    def text(self, text: str, item_id: str = "") -> Iterable[str]:
        yield json.dumps({"do": "hear", "text": text})

    def respond(self, instructions: str = "") -> Iterable[str]:
        yield json.dumps({"do": "answer"})  # sent after `text`, when no other response is being made

    def receive(self, data: str | bytes) -> Iterable[SessionReady | TextPiece | ResponseOver]:
        match json.loads(data):  # unknown messages match nothing, so the provider may add some
            case {"is": "ready"}:
                yield SessionReady(session_id="echo")  # before this, only the opening messages are sent
            case {"is": "reply", "id": str(response_id), "text": str(text)}:
                yield TextPiece(response_id=response_id, item_id="", text=text)  # the first piece begins the response
                yield ResponseOver(response_id=response_id)


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:  # the provider in memory, in place of a WebSocket
    async def echo() -> None:
        await there.send('{"is": "ready"}')
        question, _ = [json.loads(await there.receive()) for _ in ("hear", "answer")]
        await there.send(json.dumps({"is": "reply", "id": "r1", "text": f"You said: {question['text']}"}))

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
    anyio.run(main)
