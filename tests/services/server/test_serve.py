"""Everything HTTP of an agent: who is let in, what is served, and how it ends."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from bargein.pipeline import Audio, Image, Pipeline, Processor, ResponseEnded, Text, UserText, Video
from bargein.processors import Spoken, Turns
from bargein.services.brains import Choice, choices
from bargein.services.cascade import Answer
from bargein.services.rules import Rules
from bargein.services.server import PageServer, serve_page
from bargein.services.sockets import SocketRefusedError
from bargein.services.transports import RefusedError, SessionLimits, Transport, connect_websocket

pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _nothing_goes_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What an application raises, uvicorn only logs."""
    yield
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


class Deaf(Processor):
    """Takes sound and pictures, so that they do not come back."""

    def process(self, frame: Audio | Video | Image) -> None:
        pass


SCRIPTS = ("page", "connection", "conversation", "timeline", "worklets", "graph")


def agent(peer: Transport) -> Pipeline:
    if peer.peer.wishes.get("brain") == "nobody":
        raise RefusedError("there is no brain called nobody")
    return Pipeline(peer.source, Deaf(), Turns(), Answer(Rules()), Spoken(), peer.sink)


def served(**options: Any) -> AbstractAsyncContextManager[PageServer]:
    return serve_page(agent, **options)


async def get(server: PageServer, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{server.url}{path}", **options)


async def post(server: PageServer, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{server.url}{path}", **options)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what a real network does in its own time."""
    with anyio.fail_after(10):
        while not true():  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.02)


def ws(server: PageServer, query: str = "") -> str:
    return f"ws://127.0.0.1:{server.port}/ws{query}"


async def test_the_page_and_its_parts() -> None:
    """Each with its kind, and nothing else of the disk."""
    async with served() as server:
        page = await get(server, "")
        assert page.headers["content-type"].startswith("text/html")
        for part in (
            "page.css",
            "page.js",
            "connection.js",
            "conversation.js",
            "timeline.js",
            "worklets.js",
            "graph.js",
        ):
            got = await get(server, part)
            assert got.status_code == 200, part
            if part.endswith(".js"):
                assert "javascript" in got.headers["content-type"], part
        assert (await get(server, "graph")).headers["content-type"].startswith("text/html")
        for outside in ("../app.py", "%2e%2e/app.py", "nothing"):
            assert (await get(server, outside)).status_code == 404


async def test_what_there_is_to_choose_from() -> None:
    """Brains with what they lack, and the ways to talk."""
    offered = [each for each in choices({}) if each.name in ("offline", "openai")]
    async with served(brains=offered) as server:
        told = (await get(server, "choices")).json()
    assert {each["name"]: each["missing"] for each in told["brains"]} == {
        "offline": "",
        "openai": "set OPENAI_API_KEY",
    }
    assert {each["name"] for each in told["transports"]} >= {"websocket"}


async def test_a_conversation_and_what_is_counted_of_it() -> None:
    """Over the WebSocket; its pipeline is drawn, and the metrics know it."""
    async with served() as server, connect_websocket(ws(server, "?brain=mine")) as client:
        await client.send(UserText(text="Hello"))
        said = ""
        async for frame in client:
            said += frame.text if isinstance(frame, Text) else ""
            if isinstance(frame, ResponseEnded):
                break
        assert said.startswith("Hello")
        (live,) = (await get(server, "sessions")).json()
        assert live["brain"] == "mine"
        drawn = await get(server, "graph.svg", params={"session": live["name"]})
        assert drawn.headers["content-type"].startswith("image/svg+xml")
        assert "answer" in drawn.text
        counted = (await get(server, "metrics")).text
        assert "bargein_sessions 1.0" in counted
        assert "bargein_sessions_opened_total 1.0" in counted
        assert (await get(server, "graph.svg", params={"session": "nobody"})).status_code == 404


async def test_a_client_may_go_at_any_moment() -> None:
    """Without a word, while the agent speaks: its session ends, and nothing is raised."""
    async with served() as server:
        for _ in range(5):
            async with connect_websocket(ws(server)) as client:
                await client.send(UserText(text="Hello"))
            await until(lambda: not server.sessions.live)
        assert server.sessions.statistics().failed == 0


async def test_who_may_not_come_in_is_told_why() -> None:
    """Before anything is made for them."""
    async with served(limits=SessionLimits(sessions=1), origins=["https://friend.example"]) as server:
        with pytest.raises(SocketRefusedError, match="403"):
            async with connect_websocket(ws(server), headers={"Origin": "https://evil.example"}):
                pass
        evil = await post(server, "offer", json={"sdp": "v=0"}, headers={"Origin": "https://evil.example"})
        assert evil.status_code == 403
        assert "evil.example" in evil.json()["error"]
        with pytest.raises(RefusedError, match="no brain called nobody"):
            async with connect_websocket(ws(server, "?brain=nobody")):
                pass
        async with connect_websocket(ws(server), headers={"Origin": "https://friend.example"}):
            assert (await get(server, "readyz")).status_code == 503
            assert (await get(server, "healthz")).text == "ok\n"
            with pytest.raises(SocketRefusedError, match="503"):
                async with connect_websocket(ws(server)):
                    pass
            refused = await post(server, "whip", content="v=0")
            assert refused.status_code == 503
            assert "1 sessions" in refused.json()["error"]


async def test_tokens() -> None:
    """As a bearer or as a parameter, which is no wish and is not shown."""

    async def authorize(token: str) -> bool:
        return token == "secret"

    async with served(authorize=authorize) as server:
        for query, token in (("?token=wrong", ""), ("", "wrong"), ("", "")):
            with pytest.raises(SocketRefusedError, match="401"):
                async with connect_websocket(ws(server, query), token=token):
                    pass
        async with connect_websocket(ws(server, "?token=secret")), connect_websocket(ws(server), token="secret"):
            live = server.sessions.live.values()
            assert len(live) == 2
            assert all(each.transport.peer.wishes == {} for each in live)
        assert (await post(server, "offer", json={"sdp": "v=0"})).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("offer", b"", 400),
        ("offer", b"[]", 400),
        ("offer", b'{"sdp": 5}', 400),
        ("offer", b'{"sdp": "v=0"}', 400),
        ("offer", b'{"sdp": "v=0", "session": "nobody"}', 400),
        ("offer", b"x" * 300_000, 400),
        ("whip", b"\xff\xfe", 400),
        ("whip", b"hello", 400),
        ("whip", b"x" * 300_000, 400),
    ],
)
async def test_garbage_is_answered_with_a_sentence(path: str, body: bytes, status: int) -> None:
    """And harms nobody."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    async with served() as server:
        answer = await post(server, path, content=body)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert (await get(server, "healthz")).status_code == 200
        assert not server.sessions.live


async def test_whip_from_offer_to_goodbye() -> None:
    """A session for the offer, at the place that the answer names."""
    aiortc = pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    async with served() as server, httpx.AsyncClient() as client:
        peer = aiortc.RTCPeerConnection()
        try:
            peer.createDataChannel("control")
            await peer.setLocalDescription(await peer.createOffer())
            answer = await client.post(
                f"{server.url}whip",
                content=peer.localDescription.sdp,
                headers={"content-type": "application/sdp"},
            )
            assert answer.status_code == 201
            assert answer.headers["content-type"].startswith("application/sdp")
            place = f"{server.url.rstrip('/')}{answer.headers['location']}"
            await peer.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))
            await until(lambda: peer.connectionState == "connected")
            assert len(server.sessions.live) == 1
            assert (await client.patch(place, content="a=end-of-candidates\r\n")).status_code in (200, 204)
            assert (await client.delete(place)).status_code == 200
            await until(lambda: not server.sessions.live)
            assert (await client.delete(place)).status_code == 404
        finally:
            await peer.close()


async def test_draining_says_goodbye() -> None:
    """Nobody new comes in, what is said is finished, and who is there is told."""
    async with served() as server, connect_websocket(ws(server)) as client:
        await client.send(UserText(text="Hello"))
        async for frame in client:
            if isinstance(frame, Text):
                break
        async with anyio.create_task_group() as group:
            group.start_soon(server.sessions.drain)
            rest = [frame async for frame in client]
        assert any(isinstance(frame, ResponseEnded) and frame.outcome == "completed" for frame in rest)
        assert "going away" in client.ended
        assert (await get(server, "readyz")).status_code == 503


async def test_waiting_ends_when_it_is_stopped() -> None:
    """By whoever has the server."""
    async with served() as server:
        async with anyio.create_task_group() as group:
            group.start_soon(server.wait)
            await anyio.sleep(0.01)
            server.stop()


async def test_a_taken_port_is_a_sentence() -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1, port {port}: .* choose another port"):
            async with served(port=port):
                pass


async def test_https(tmp_path: Path) -> None:
    """With files for a certificate and its key."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key, roots = tmp_path / "certificate.pem", tmp_path / "key.pem", tmp_path / "roots.pem"
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(roots))
    async with served(certificate=certificate, key=key) as server:
        assert server.url.startswith("https://localhost:")
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(roots))) as client:
            assert (await client.get(f"{server.url}healthz")).text == "ok\n"


def test_choices_are_data() -> None:
    """What is chosen is made only when it is needed."""
    assert all(isinstance(each, Choice) and each.name and each.title for each in choices({}))
    assert msgspec.json.encode([each.name for each in choices({})])
