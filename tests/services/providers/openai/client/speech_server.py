"""A scripted server of OpenAI's speech, and both parts that ask it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
import pytest
from anyio.abc import SocketAttribute, SocketStream

from bargein.pipeline.lowlevel import Samples
from bargein.services.cascade.parts import Word
from bargein.services.providers.openai.client.speech import OpenAISpeech, OpenAITranscription

Script = Callable[[SocketStream], Awaitable[None]]
PIECE = np.arange(1600, dtype=np.int16)
both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Server:
    """One script for every request. Keeps the requests: head and body."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, bytes]] = []
        self.url = ""
        self.connections = 0
        self.left = anyio.Event()
        """The client has closed a connection."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Server]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._serve)
            yield self
            group.cancel_scope.cancel()

    async def _serve(self, stream: SocketStream) -> None:
        self.connections += 1
        data = b""
        async with stream:
            try:
                while True:
                    while b"\r\n\r\n" not in data:
                        data += await stream.receive()
                    head, _, data = data.partition(b"\r\n\r\n")
                    text = head.decode()
                    size = int(text.lower().partition("content-length:")[2].split("\r\n")[0])
                    while len(data) < size:
                        data += await stream.receive()
                    self.requests.append((text, data[:size]))
                    data = data[size:]
                    await self.script(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.left.set()


def run(backend: str, script: Script, use: Callable[[Server], Awaitable[None]]) -> None:
    """In real time, because the sockets are real."""

    async def within() -> None:
        with anyio.fail_after(60):
            async with Server(script).open() as server:
                await use(server)

    anyio.run(within, backend=backend)


def answer(body: bytes, kind: str, status: str = "200 OK") -> Script:
    async def script(stream: SocketStream) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send(head.encode() + body)

    return script


def events(*contents: dict[str, Any]) -> bytes:
    return "".join(f"event: {each.get('type')}\ndata: {json.dumps(each)}\n\n" for each in contents).encode()


def delta(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text}


def done(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.done", "text": text, "usage": {"type": "tokens", "input_tokens": 14}}


async def sound(pieces: int = 2) -> AsyncIterator[Samples]:
    for _ in range(pieces):
        yield PIECE


async def heard(server: Server, pieces: int = 2, **options: Any) -> list[str]:
    options = {"retries": 0} | options
    async with OpenAITranscription(api_key="secret", url=server.url, **options) as stt:
        return [text async for text in stt.transcribe(sound(pieces))]


async def spoken(server: Server, text: str = "Hi you.", **options: Any) -> list[Samples | Word]:
    options = {"retries": 0} | options
    async with OpenAISpeech("gpt-4o-mini-tts", api_key="secret", url=server.url, **options) as tts:
        return [piece async for piece in tts.speak(text)]
