"""Agents on WebSockets: which peers, pages, paths and headers a server accepts."""

from __future__ import annotations

import ssl
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from bargein.services.sockets import Endpoint, SocketRefusedError, dial
from bargein.services.transports import RefusedError, WebSocketClient, accept_websocket, serve_websocket
from bargein.services.transports.control import Start
from tests.services.transports.kit import agent

from .server_kit import BOTH, ask, brief, run


@BOTH
def test_who_may_come_in(backend: str) -> None:
    """The header or `start` decides. The hook may wait."""

    async def allowed(token: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return token == "open sesame"

    async def talk() -> None:
        async with serve_websocket(brief, authorize=allowed) as server:
            assert await ask(server.url, token="open sesame") == 60
            with pytest.raises(SocketRefusedError, match="401"):
                await ask(server.url, token="barley")
            with pytest.raises(RefusedError, match="token is wrong"):
                await ask(server.url)
            async with dial(Endpoint(url=server.url)) as socket:  # as a browser does
                await WebSocketClient.begin(socket, Start(token="open sesame"))
            await server.sessions.drain()
            assert server.sessions.statistics().opened == 2
        async with serve_websocket(brief, authorize=lambda token: False) as server:
            with pytest.raises(RefusedError):
                await ask(server.url)

    run(backend, talk)


@BOTH
def test_a_hook_that_fails_lets_nobody_in(backend: str) -> None:
    """Other peers are not affected."""

    def allowed(token: str) -> bool:
        if token != "open sesame":
            raise RuntimeError("the list of tokens is lost")
        return True

    async def talk() -> None:
        async with serve_websocket(brief, authorize=allowed) as server:
            with pytest.raises(SocketRefusedError, match="500"):
                await ask(server.url, token="barley")
            with pytest.raises(RefusedError, match="1011"):
                await ask(server.url)
            assert await ask(server.url, token="open sesame") == 60

    run(backend, talk)


@BOTH
def test_whose_pages_may_connect(backend: str) -> None:
    """Those of the server itself, and those that are named; programs always."""

    async def talk() -> None:
        async with serve_websocket(brief, origins=["https://example.com"]) as server:
            assert await ask(server.url, headers={"Origin": "https://example.com"}) == 60
            assert await ask(server.url, headers={"Origin": f"http://127.0.0.1:{server.port}"}) == 60
            with pytest.raises(SocketRefusedError, match="403"):
                await ask(server.url, headers={"Origin": "https://evil.example"})
            with pytest.raises(SocketRefusedError, match="404"):
                await ask(f"{server.url}/elsewhere")
        async with serve_websocket(brief, origins="*") as server:
            assert await ask(server.url, headers={"Origin": "https://evil.example"}) == 60

    run(backend, talk)


@pytest.mark.parametrize("path", ["twilio", "/twilio/", ""])
async def test_a_path_is_as_in_an_address(path: str) -> None:
    """One that nobody could come to is refused."""
    with pytest.raises(ValueError, match="expected a path such as"):
        async with serve_websocket(brief, paths={path: accept_websocket}):
            pass


def test_over_tls(tmp_path: Any) -> None:
    """With the contexts of the standard library."""
    certificates = pytest.importorskip("trustme")
    authority = certificates.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def talk() -> None:
        async with serve_websocket(brief, ssl=context) as server:
            assert server.url.startswith("wss://")
            assert await ask(server.url, ssl=trusting) == 60
            with pytest.raises(SocketRefusedError):
                await ask(server.url)

    for backend in ("asyncio", "trio"):
        run(backend, talk)


@pytest.mark.real
@pytest.mark.parametrize("header", ["Host", "Origin", "Authorization"])
async def test_a_header_that_decides_must_not_come_twice(header: str) -> None:
    """It is refused with a sentence, as the others are, and the server does not fail."""
    async with (
        serve_websocket(agent, authorize=lambda token: True) as server,
        await anyio.connect_tcp("127.0.0.1", server.port) as stream,
    ):
        lines = [
            "GET / HTTP/1.1",
            *([] if header == "Host" else [f"Host: 127.0.0.1:{server.port}"]),
            *[f"{header}: 127.0.0.1:{server.port}"] * 2,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        await stream.send("\r\n".join([*lines, "", ""]).encode())
        answer = (await stream.receive()).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert f"more than one {header.lower()}" in answer
