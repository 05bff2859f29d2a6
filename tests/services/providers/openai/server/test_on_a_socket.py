"""Brains behind real sockets on loopback: many clients, pages, paths, TLS and handshakes."""

from __future__ import annotations

import json
import ssl
from contextlib import suppress
from typing import Any

import anyio
import pytest
import trustme

from bargein.pipeline import UserText
from bargein.services.providers.azure import AZURE
from bargein.services.providers.openai.server.serve import Faults, Limits, Server, serve
from bargein.services.sockets import Endpoint, SocketRefusedError, dial
from bargein.services.testing import ScriptedBrain

from .brain_kit import LONG, Made, sound
from .server_kit import Client, connected


def endpoint(server: Server, **options: Any) -> Endpoint:
    return Endpoint(url=f"{server.url}?model=gpt-realtime", **options)


async def conversation(server: Server) -> Client:
    async with dial(endpoint(server)) as socket, connected(socket) as client:
        await client.say("hi")
        await client.next("response.done")
    return client


async def hello() -> None:
    async with serve(Made("Hello there.")) as server:
        client = await conversation(server)
        assert len(sound(client)) == 9600
        assert client.seen[0]["session"]["model"] == "gpt-realtime"
        assert server.statistics().opened == 1
        assert server.url in repr(server)


async def sixty() -> None:
    made = Made("You said nothing.")

    async def talk(server: Server, name: str) -> None:
        async with dial(endpoint(server)) as socket, connected(socket) as client:
            await client.say(name)
            done = await client.next("response.done")
            assert done["response"]["status"] == "completed"
            assert client.of("conversation.item.added")[0]["item"]["content"][0]["text"] == name

    async with serve(made) as server:
        async with anyio.create_task_group() as group:
            for at in range(60):
                group.start_soon(talk, server, f"caller {at}")
    said = [[frame.text for frame in brain.taken if isinstance(frame, UserText)] for brain in made.brains]
    assert sorted(said) == sorted([f"caller {at}"] for at in range(60))


async def one_fails() -> None:
    brains = iter([ScriptedBrain([ValueError("broken")]), ScriptedBrain("Fine."), ScriptedBrain("Fine.")])
    async with serve(lambda: next(brains)) as server:
        async with dial(endpoint(server)) as bad, connected(bad) as broken:
            await broken.next("session.created")
            async with dial(endpoint(server)) as good, connected(good) as whole:
                await whole.next("session.created")
                await broken.say("hi")
                assert (await broken.end()).code == 1011
                await whole.say("hi")
                assert (await whole.next("response.done"))["response"]["status"] == "completed"
        await conversation(server)
        assert [type(failure) for failure in server.failures] == [ValueError]
        assert server.statistics().failed == 1


async def refusals() -> None:
    async with serve(ScriptedBrain, api_keys=["right"], max_sessions=1) as server:
        right = {"Authorization": "Bearer right"}

        async def refused(url: str, **options: Any) -> tuple[int | None, Any]:
            with pytest.raises(SocketRefusedError) as caught:
                async with dial(Endpoint(url=url, **options)):
                    pass
            return caught.value.status, json.loads(caught.value.body)["error"]

        url = f"{server.url}?model=x"
        assert (await refused(url))[0] == 401
        status, body = await refused(url, headers={"Authorization": "Bearer wrong"})
        assert (status, body["code"]) == (401, "invalid_api_key")
        assert (await refused(url.replace("v1", "v2"), headers=right))[0] == 404
        assert (await refused(server.url, headers=right))[0] == 400
        keyed = Endpoint(url=url, subprotocols=["realtime", "openai-insecure-api-key.right"])
        async with dial(keyed) as socket, connected(socket) as client:
            await client.next("session.created")
            status, body = await refused(url, headers=right)
            assert (status, body["type"]) == (503, "server_error")
        assert server.statistics().refused == 5


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def pages_and_paths() -> None:
    async with serve(Made("Hi."), origins=["https://mine.example"]) as server:

        async def status(path: str, *headers: str) -> int:
            lines = [f"GET {path}?model=x HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *UPGRADE, *headers, "", ""]
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                await stream.send("\r\n".join(lines).encode())
                return int((await stream.receive()).split(b" ")[1])

        mine, evil = "Origin: https://mine.example", "Origin: https://evil.example"
        assert await status("/v1/realtime") == 101, "a program sends no origin"
        assert await status("/v1/realtime", mine) == 101
        assert await status("/v1/realtime", f"Origin: http://127.0.0.1:{server.port}") == 101, "its own page"
        assert await status("/v1/realtime", evil) == 403
        assert await status("/v1/realtime", mine, evil) == 400, "a header that decides must not be repeated"
        assert await status("/realtime") == 101, "as LiveKit asks for it"
        assert await status("/v1") == 404
        assert server.statistics().refused == 3


async def silence_before_a_request() -> None:
    async with serve(ScriptedBrain, limits=Limits(open_seconds=0.1)) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
        await conversation(server)


async def encrypted() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serve(Made("Hi."), ssl=context) as server:
        assert server.url.startswith("wss://")
        async with dial(endpoint(server, ssl=trusting)) as socket, connected(socket) as client:
            await client.say("hi")
            await client.next("response.done")


async def wrong_handshakes() -> None:
    for faults, status in ((Faults(html_answer=True), 200), (Faults(refuse_status=429), 429)):
        async with serve(ScriptedBrain, faults=faults) as server:
            with pytest.raises(SocketRefusedError) as caught:
                async with dial(endpoint(server)):
                    pass
            assert caught.value.status == status


async def breaks() -> None:
    async with serve(Made("Hi."), faults=Faults(close_after_events=4)) as server:
        async with dial(endpoint(server)) as socket, connected(socket) as client:
            await client.say("hi")
            assert (await client.end()).code == 1006


async def goes_away() -> None:
    ready, leave = anyio.Event(), anyio.Event()
    servers: list[Server] = []

    async def run() -> None:
        async with serve(Made(LONG, paced=True)) as server:
            servers.append(server)
            ready.set()
            await leave.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await ready.wait()
        async with dial(endpoint(servers[0])) as socket, connected(socket) as client:
            await client.say("hi")
            await client.next("response.output_audio.delta")
            leave.set()
            await client.end()
    assert servers[0].sessions == 0


FACTS = {
    "a conversation over loopback is the same as in a pipe": hello,
    "sixty conversations at once, each with a brain of its own": sixty,
    "a session that fails harms no other": one_fails,
    "path, key, model and number of sessions are checked, each with its status and a JSON body": refusals,
    "pages of others are refused, and both paths lead in": pages_and_paths,
    "a connection without a request is closed": silence_before_a_request,
    "with a TLS context it is wss": encrypted,
    "a web page, or any status, in place of a WebSocket": wrong_handshakes,
    "an abrupt close is one without a goodbye": breaks,
    "leaving the block ends the sessions that are open": goes_away,
}


@pytest.mark.real
@pytest.mark.parametrize("fact", FACTS)
async def test_on_a_real_socket(fact: str) -> None:
    """On asyncio and uvloop the fact holds."""
    with anyio.fail_after(60):
        await FACTS[fact]()


@pytest.mark.parametrize("fact", FACTS)
def test_on_a_real_socket_on_trio(fact: str) -> None:
    """On trio, too, with its own clock."""

    async def bounded() -> None:
        with anyio.fail_after(60):
            await FACTS[fact]()

    anyio.run(bounded, backend="trio")


@pytest.mark.real
@pytest.mark.parametrize("header", ["Host", "Origin", "Authorization", "api-key"])
async def test_a_header_that_decides_must_not_come_twice(header: str) -> None:
    """It is refused with a sentence, also the one that has the key in another dialect."""
    async with (
        serve(Made(), api_keys=["k"], dialect=AZURE) as server,
        await anyio.connect_tcp("127.0.0.1", server.port) as stream,
    ):
        lines = [
            f"GET {AZURE.path}?model=m HTTP/1.1",
            *([] if header == "Host" else [f"Host: 127.0.0.1:{server.port}"]),
            *[f"{header}: k"] * 2,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        await stream.send("\r\n".join([*lines, "", ""]).encode())
        answer = (await stream.receive()).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert f"The header {header.lower()} is there more than once." in answer
