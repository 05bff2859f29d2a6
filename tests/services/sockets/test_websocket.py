"""WebSockets on both backends: messages both ways, and clear errors where there is no connection."""

from __future__ import annotations

import http
import logging
from contextlib import suppress
from typing import Any

import anyio
import msgspec
import pytest

from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, dial, listen, server_time
from bargein.services.sockets.addresses import is_loopback_url


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_websocket_carries_messages(backend: str) -> None:
    """It also carries the code with which it is closed."""

    async def echo(socket: Socket, request: Any) -> None:
        assert request.headers["X-Who"] == "me"
        await socket.send(await socket.receive())
        await socket.close(4001, "done")

    async def talk() -> None:
        with anyio.fail_after(60):
            async with listen(echo) as port:
                async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/", headers={"X-Who": "me"})) as socket:
                    await socket.send("hello")
                    assert await socket.receive() == "hello"
                    with pytest.raises(SocketClosedError) as closed:
                        await socket.receive()
                    assert (closed.value.code, closed.value.reason) == (4001, "done")

    anyio.run(talk, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ws://127.0.0.1:9/path?key=secret", "cannot be reached"),
        ("http://127.0.0.1:9/", "is not a WebSocket"),
        ("nonsense", "is not a WebSocket"),
    ],
)
def test_missing_server_is_reported(backend: str, url: str, says: str) -> None:
    """With the reason, and the address without what may be secret in it."""

    async def talk() -> None:
        with pytest.raises(SocketRefusedError, match=says) as refused:
            async with dial(Endpoint(url=url)):
                pass
        assert "secret" not in repr(Endpoint(url=url))
        assert says in str(refused.value)

    anyio.run(talk, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Thu, 01 Jan 1970 01:00:00 GMT", 3600.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 4102444800.0),
        ("soon", None),
        (None, None),
    ],
)
def test_the_clock_of_the_server(backend: str, date: str | None, seconds: float | None) -> None:
    """It is read from the server's answer, however far it is from the clock of this machine."""

    def answer(connection: Any, request: Any, response: Any) -> Any:
        del response.headers["Date"]
        if date is not None:
            response.headers["Date"] = date
        return response

    async def wait(socket: Socket, request: Any) -> None:
        with suppress(SocketClosedError):
            await socket.receive()

    async def talk() -> None:
        with anyio.fail_after(60):
            async with listen(wait, process_response=answer) as port:
                async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/")) as socket:
                    assert server_time(socket) == seconds

    anyio.run(talk, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("status", [403, 302])
def test_a_refusal_that_repeats_the_key(backend: str, status: int) -> None:
    """Neither the body nor the target of a redirection brings the key into the error."""
    key = "sk-0123456789abcdef"

    def refuse(connection: Any, request: Any) -> Any:
        response = connection.respond(status, f"{'x' * 990} {request.headers['Authorization']}")
        if status == 302:
            response.headers["Location"] = f"http://127.0.0.1:9/?key={key}"
        return response

    async def never(socket: Socket, request: Any) -> None: ...

    async def talk() -> None:
        with anyio.fail_after(60):
            async with listen(never, process_request=refuse) as port:
                endpoint = Endpoint(url=f"ws://127.0.0.1:{port}/", headers={"Authorization": f"Bearer {key}"})
                with pytest.raises(SocketRefusedError) as refused:
                    async with dial(endpoint):
                        pass
        assert "sk-0" not in str(refused.value) + refused.value.body

    anyio.run(talk, backend=backend)


PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("host", "reached"), [("127.0.0.1", True), ("localhost", True), ("example.invalid", False)])
def test_a_proxy_in_the_environment(backend: str, host: str, reached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not asked for servers on this machine, even if no NO_PROXY names them; for others, it is."""
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def greet(socket: Socket, request: Any) -> None:
        await socket.send("hello")

    async def talk() -> None:
        with anyio.fail_after(60):
            async with listen(greet) as port:
                async with dial(Endpoint(url=f"ws://{host}:{port}/")) as socket:
                    assert await socket.receive() == "hello"

    if reached:
        anyio.run(talk, backend=backend)
    else:
        with pytest.raises(SocketRefusedError, match=r"prox|cannot be reached"):
            anyio.run(talk, backend=backend)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("ws://127.0.0.1:8000/", True),
        ("ws://127.8.9.1", True),
        ("wss://[::1]:8000/", True),
        ("ws://localhost:8000/", True),
        ("ws://agent.localhost/", True),
        ("wss://api.example.com/", False),
        ("ws://10.0.0.1/", False),
        ("ws://[::1", False),
        ("nonsense", False),
    ],
)
def test_addresses_on_this_machine(url: str, loopback: bool) -> None:
    """Names and addresses of the loopback interface, and no others."""
    assert is_loopback_url(url) == loopback


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_server_that_does_not_answer(backend: str) -> None:
    """The wait ends after the stated time."""

    async def talk() -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            with pytest.raises(SocketRefusedError, match=r"does not answer within 0.2 s"):
                async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/", open_seconds=0.2)):
                    pass

    anyio.run(talk, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_keys_and_words_are_not_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the logs, whatever their level, nor in an error, whatever a server repeats."""
    endpoint = Endpoint(url="", headers={"Authorization": "Bearer s3cret-key", "X-Who": "me"})

    def refuse(connection: Any, request: Any) -> Any:
        if request.path == "/no":
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, f"no: {request.headers['Authorization']}, me")
        return None

    async def hear(socket: Socket, request: Any) -> None:
        assert await socket.receive() == "words"

    async def talk() -> None:
        with anyio.fail_after(60):
            async with listen(hear, process_request=refuse) as port:
                url = f"ws://127.0.0.1:{port}/"
                async with dial(msgspec.structs.replace(endpoint, url=url)) as socket:
                    await socket.send("words")
                with pytest.raises(SocketRefusedError) as refused:
                    async with dial(msgspec.structs.replace(endpoint, url=f"{url}no")):
                        pass
                assert refused.value.body == "no: Bearer ***, me"

    with caplog.at_level(logging.WARNING):
        anyio.run(talk, backend=backend)
    assert not caplog.records, "who wants warnings is not told of every connection"
    with caplog.at_level(logging.DEBUG):
        anyio.run(talk, backend=backend)
    assert "s3cret" not in caplog.text
    assert "words" not in caplog.text
