"""A raw HTTP server that plays a script, and what its answers are made of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

BACKENDS = ["asyncio", "trio"]
Step = bytes | anyio.Event | str
HANG_UP, LISTEN = "hang up", "listen"


class HttpServer:
    """A raw HTTP/1.1 server that plays a script an answer: bytes to send, an event to wait for, or what else to do."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.scripts = list(scripts)
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.connections = 0
        self.gone = anyio.Event()
        self.port = 0

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                while self.scripts:
                    await self.once(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.gone.set()

    async def once(self, stream: anyio.abc.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += await stream.receive()
        self.requests.append((first, headers, json.loads(body)))
        for step in self.scripts.pop(0):
            if isinstance(step, bytes):
                await stream.send(step)
            elif isinstance(step, anyio.Event):
                await step.wait()
            elif step == HANG_UP:
                raise anyio.EndOfStream
            else:
                await stream.receive()  # nothing more is sent: this waits for the end
                raise AssertionError("the client has said more")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@asynccontextmanager
async def serving(*scripts: Sequence[Step]) -> AsyncIterator[HttpServer]:
    server = HttpServer(*scripts)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        server.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, server.serve)
        yield server
        group.cancel_scope.cancel()


def head(status: int = 200, kind: str = "text/event-stream", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "transfer-encoding: chunked"]
    return "\r\n".join(
        [*lines, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    ).encode()


def part(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


END = b"0\r\n\r\n"


def plain(status: int, body: bytes, kind: str = "application/json", **headers: str) -> list[Step]:
    return [head(status, kind, **headers) + (part(body) if body else b"") + END]


def run(backend: str, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
    """In real time, on either backend, because the sockets are real."""

    async def within() -> None:
        with anyio.fail_after(60):
            await function(*args)

    anyio.run(within, backend=backend)
