"""Requests whose headers contradict each other, and bodies that never end."""

from __future__ import annotations

import logging

import anyio
import pytest

from bargein.pipeline import Pipeline
from bargein.services.server import serve_page
from bargein.services.transports import SessionLimits, Transport

pytestmark = pytest.mark.real

REQUESTS = [
    "GET /",
    "GET /choices",
    "GET /sessions",
    "GET /ws",
    "POST /offer",
    "POST /whip",
    "PATCH /whip/x",
    "DELETE /whip/x",
]
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, peer.sink)


async def ask(port: int, request: str, *headers: str) -> str:
    """Return the first line of the answer."""
    upgrade = UPGRADE if request == "GET /ws" else ()
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        lines = [f"{request} HTTP/1.1", f"Host: 127.0.0.1:{port}", *upgrade, *headers, "", ""]
        await stream.send("\r\n".join(lines).encode())
        return (await stream.receive()).decode("latin-1").partition("\r\n")[0]


def test_a_header_that_decides_must_not_come_twice(caplog: pytest.LogCaptureFixture) -> None:
    """Each entry refuses the request with 400, and the server writes no traceback."""

    async def main() -> None:
        async with serve_page(agent, port=0) as page:
            for request in REQUESTS:
                for header in ("Host: evil", "Origin: http://a", "Authorization: Bearer a"):
                    twice = [header] * (1 if header.startswith("Host") else 2)  # `ask` sends one Host
                    assert (await ask(page.port, request, *twice)).startswith("HTTP/1.1 400 "), (request, header)

    anyio.run(main)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_body_that_breaks_off(caplog: pytest.LogCaptureFixture) -> None:
    """It costs its request, and no traceback."""

    async def main() -> None:
        async with serve_page(agent, port=0, limits=SessionLimits(open_seconds=5)) as page:
            for request in ("POST /offer", "POST /whip", "PATCH /whip/x"):
                async with await anyio.connect_tcp("127.0.0.1", page.port) as stream:
                    head = f"{request} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nContent-Length: 9\r\n\r\nv=0"
                    await stream.send(head.encode())
            assert (await ask(page.port, "GET /healthz")).startswith("HTTP/1.1 200 ")

    with caplog.at_level(logging.ERROR):
        anyio.run(main)
    assert not caplog.records
