"""Everything HTTP of an agent: who is let in, what is served, and how it ends."""

from __future__ import annotations

import importlib.util
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from bargein.pipeline import Audio, Image, Pipeline, Processor, ResponseEnded, Text, UserText, Video
from bargein.processors import Spoken, Turns
from bargein.services.cascade import Answer
from bargein.services.failover import Failover
from bargein.services.providers.brains import BrainChoice, choices
from bargein.services.providers.rules import Rules
from bargein.services.server import PageServer, serve_page
from bargein.services.server.app import DRAWING_POLICY, PAGE
from bargein.services.sockets import Endpoint, SocketClosedError, SocketRefusedError, dial
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


def agent(peer: Transport) -> Pipeline:
    if peer.peer.params.get("brain") == "nobody":
        raise RefusedError("there is no brain called nobody")
    return Pipeline(peer.source, Deaf(), Turns(), Answer(Rules()), Spoken(), peer.sink)


def served(**options: Any) -> AbstractAsyncContextManager[PageServer]:
    return serve_page(agent, **({"port": 0} | options))


async def get(server: PageServer, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{server.url}{path}", **options)


async def post(server: PageServer, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{server.url}{path}", **options)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what a real network does in its own time."""
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110  # no event says so
            await anyio.sleep(0.02)


def ws(server: PageServer, query: str = "") -> str:
    return f"ws://127.0.0.1:{server.port}/ws{query}"


@pytest.mark.slow
async def test_the_page_and_its_parts() -> None:
    """Each with its kind, and nothing else of the disk."""
    async with served() as server:
        page = await get(server, "")
        assert page.headers["content-type"].startswith("text/html")
        for part in sorted(each.name for each in PAGE.iterdir()):
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
    async with served(brains=offered, suggestions=["Good morning"]) as server:
        told = (await get(server, "choices")).json()
    assert told["suggestions"] == ["Good morning"]
    assert all(each["suggestions"] for each in told["brains"])
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
        assert drawn.headers.get_list("content-security-policy") == [DRAWING_POLICY]
        assert "answer" in drawn.text
        counted = (await get(server, "metrics")).text
        assert "bargein_sessions 1.0" in counted
        assert "bargein_sessions_opened_total 1.0" in counted
        assert (await get(server, "graph.svg", params={"session": "nobody"})).status_code == 404


async def test_the_brain_of_a_failover_is_drawn() -> None:
    """It runs in a session inside, whose pipeline has its own drawing."""

    def failing_over(peer: Transport) -> Pipeline:
        first, second = (Pipeline(Turns(), Answer(Rules()), name=name) for name in ("first", "second"))
        return Pipeline(peer.source, Deaf(), Failover(first, second), Spoken(), peer.sink)

    async with serve_page(failing_over, port=0) as server, connect_websocket(ws(server)) as client:
        await client.send(UserText(text="Hello"))
        async for frame in client:
            if isinstance(frame, ResponseEnded):
                break
        (live,) = (await get(server, "sessions")).json()
        assert live["inside"] == "first"
        whole = (await get(server, "graph.svg", params={"session": live["name"]})).text
        inside = (await get(server, "graph.svg", params={"session": live["name"], "inside": "1"})).text
        assert "first/answer" in inside
        assert "first/answer" not in whole


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
    async with served(limits=SessionLimits(max_sessions=1), origins=["https://friend.example"]) as server:
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
            with pytest.raises(RefusedError, match="1 sessions"):
                async with connect_websocket(ws(server)):
                    pass
            refused = await post(server, "whip", content="v=0")
            assert refused.status_code == 503
            assert "1 sessions" in refused.json()["error"]


async def test_a_strangers_name_for_this_machine_is_not_answered_to() -> None:
    """A page whose name was made to mean 127.0.0.1 is of the same origin, and is refused all the same."""
    rebound = {"Host": "evil.example"}
    async with served(origins=["https://proxied.example"]) as server:
        for path in ("", "sessions", "metrics", "choices"):
            answer = await get(server, path, headers=rebound)
            assert answer.status_code == 421, path
            assert "not called evil.example" in answer.text
        own = rebound | {"Origin": "http://evil.example"}
        for path in ("offer", "whip"):
            assert (await post(server, path, content="v=0", headers=own)).status_code == 403
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
        assert (await get(server, "ws", headers=own | upgrade)).status_code == 403
        assert (await post(server, "whip", content="v=0", headers=rebound)).status_code != 403, "a program's"
        for name in ("localhost:5", "127.0.0.1", "[::1]:80", "page.localhost", "proxied.example"):
            assert (await get(server, "healthz", headers={"Host": name})).status_code == 200, name


async def test_pages_that_are_named_may_talk_to_it() -> None:
    """Browsers ask before they allow it (CORS). Other pages are refused."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with served(origins=["https://friend.example"]) as server, httpx.AsyncClient() as client:
        for origin, allowed in (("https://friend.example", True), ("https://evil.example", False)):
            answer = await client.options(f"{server.url}whip", headers={"Origin": origin, **asked})
            assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
        own = await client.get(server.url, headers={"Origin": "https://friend.example"})
        assert "https://friend.example" in own.headers["content-security-policy"]


async def test_what_browsers_must_not_do_with_the_page() -> None:
    """Run what is not its own, show it in a stranger's frame, tell others its address."""
    async with served() as server:
        for path in ("", "page.js", "graph", "choices", "nothing"):
            headers = (await get(server, path)).headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert "frame-ancestors 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"


async def test_who_says_nothing_takes_no_room_for_ever() -> None:
    """As many may wait as there may be sessions; the next is told so, and a body that does not come is given up."""
    async with served(limits=SessionLimits(max_sessions=2, open_seconds=2)) as server:
        silent = Endpoint(url=ws(server))
        async with dial(silent), dial(silent), dial(silent) as late:
            with pytest.raises(SocketClosedError, match="1013"):
                await late.receive()
    async with served(limits=SessionLimits(open_seconds=0.3)) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as slow:
            await slow.send(b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            answer = b""
            with anyio.fail_after(5):
                while b"did not come within 0.3 s" not in answer:
                    answer += await slow.receive()


async def test_a_head_that_does_not_end_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """Before it costs more than it may."""
    async with served() as server, await anyio.connect_tcp("127.0.0.1", server.port) as endless:
        await endless.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with anyio.fail_after(10), suppress(anyio.BrokenResourceError):
            for _ in range(2_000):
                await endless.send(b"A: " + b"a" * 10_000 + b"\r\n")
            pytest.fail("it takes whatever comes")
    caplog.clear()


async def test_tokens() -> None:
    """As a bearer or as a parameter, which is no wish and is not shown."""

    async def authorize(token: str) -> bool:
        return token == "secret"

    async with served(authorize=authorize, ice_servers=["stun:stun.example.com:3478"]) as server:
        for query, token in (("?token=wrong", ""), ("", "wrong"), ("", "")):
            with pytest.raises(SocketRefusedError, match="401"):
                async with connect_websocket(ws(server, query), token=token):
                    pass
        async with connect_websocket(ws(server, "?token=secret")), connect_websocket(ws(server), token="secret"):
            live = server.sessions.live.values()
            assert len(live) == 2
            assert all(each.transport.peer.params == {} for each in live)
            secret = {"Authorization": "Bearer secret"}
            for path in ("sessions", "graph.svg?session=x"):
                assert (await get(server, path)).status_code == 401
                assert (await get(server, path, headers=secret)).status_code != 401
            assert not (await get(server, "choices")).json()["iceServers"]
            helped = (await get(server, "choices", headers=secret)).json()["iceServers"]
            assert bool(helped) == bool(importlib.util.find_spec("aiortc"))
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
    """Other sessions are not affected."""
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
            place = str(answer.url.join(answer.headers["location"]))
            await peer.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))
            await until(lambda: peer.connectionState == "connected")
            (name,) = server.sessions.live
            assert name not in place, "who may see that it runs may not end it"
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
    """The owner of the server stops it."""
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


async def test_a_port_that_is_none_is_a_sentence() -> None:
    """It is not an overflow error."""
    with pytest.raises(ValueError, match="expected 1 to 65535"):
        async with served(port=99_999):
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


@pytest.mark.parametrize("files", [("nothing.pem", None), ("noise.pem", "noise.pem"), (None, "noise.pem")])
async def test_files_that_will_not_do_for_https(files: tuple[str | None, str | None], tmp_path: Path) -> None:
    """They are named before the address of the page is printed."""
    (tmp_path / "noise.pem").write_text("hello")
    certificate, key = (tmp_path / name if name else None for name in files)
    with pytest.raises(ValueError, match=r"(nothing|noise).pem .*cannot be used|without its certificate"):
        async with served(certificate=certificate, key=key):
            pass


def test_choices_are_data() -> None:
    """What is chosen is made only when it is needed."""
    assert all(isinstance(each, BrainChoice) and each.name and each.title for each in choices({}))
    assert msgspec.json.encode([each.name for each in choices({})])


@pytest.mark.real
async def test_a_page_has_a_known_port_and_takes_the_next_if_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """8080 unless another is given. The log says which port it is instead; a given port is never replaced."""
    async with serve_page(agent) as first, serve_page(agent) as second:
        assert 8080 <= first.port < second.port < 8100
        assert f"listening at port {second.port}" in caplog.text
        with pytest.raises(OSError, match="choose another port"):
            async with serve_page(agent, port=first.port):
                pass


AGENT = """
from bargein.pipeline import Pass, Pipeline
from bargein.services.server import run_page

run_page(lambda peer: Pipeline(peer.source, Pass(), peer.sink), port=0)
"""


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
def test_one_line_serves_an_agent_until_it_is_stopped(tmp_path: Path) -> None:
    """It prints the page's URL, and Ctrl+C ends it without a traceback."""
    program = tmp_path / "agent.py"
    program.write_text(AGENT)
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as served_agent:
        assert served_agent.stdout is not None
        url = served_agent.stdout.readline().split()[4]
        assert httpx.get(f"{url}healthz").text == "ok\n"
        served_agent.send_signal(signal.SIGINT)
        _, complaints = served_agent.communicate(timeout=20)
    assert (served_agent.returncode, complaints) == (0, "")


def broken_agent(peer: Transport) -> Pipeline:
    raise KeyError("apple")


@pytest.mark.parametrize(("options", "told"), [({}, True), ({"origins": ["https://agent.example"]}, False)])
async def test_the_developer_is_told_what_went_wrong_and_strangers_are_not(options: dict[str, Any], told: bool) -> None:
    """On this machine the page shows the reason. Behind a proxy, whose page is in `origins`, it does not."""
    async with serve_page(broken_agent, port=0, **options) as server:
        with pytest.raises(RefusedError) as raised:
            async with connect_websocket(ws(server)):
                pass
    assert str(raised.value).removeprefix("the agent refuses: ") == (
        "the session failed: KeyError: 'apple'" if told else "the session failed"
    )


@pytest.mark.parametrize("path", ["/ws", "/offer"])
@pytest.mark.parametrize("header", ["Host", "Origin", "Authorization"])
async def test_a_header_that_decides_must_not_come_twice(path: str, header: str) -> None:
    """It is refused with a sentence, as the others are, and the server does not fail."""
    async with (
        served(authorize=lambda token: True) as server,
        await anyio.connect_tcp("127.0.0.1", server.port) as stream,
    ):
        lines = [
            f"{'GET' if path == '/ws' else 'POST'} {path} HTTP/1.1",
            *([] if header == "Host" else [f"Host: 127.0.0.1:{server.port}"]),
            *[f"{header}: 127.0.0.1:{server.port}"] * 2,
        ]
        lines += (
            [
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Version: 13",
            ]
            if path == "/ws"
            else ["Content-Length: 0"]
        )
        await stream.send("\r\n".join([*lines, "", ""]).encode())
        answer = (await stream.receive()).decode()
    assert answer.startswith("HTTP/1.1 400 "), answer


async def test_a_server_for_all_machines_answers_to_no_foreign_name() -> None:
    """A page of a name that resolves to it (DNS rebinding) would else be taken for its own. A token settles it too."""
    page = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}
    async with served(host="0.0.0.0") as server:
        assert (await get(server, "", headers=page)).status_code == 421
        assert (await get(server, "metrics", headers={"Host": "agent-service:8080"})).status_code == 200, "monitoring"
        assert (await post(server, "offer", headers=page)).status_code == 403
    async with served(host="0.0.0.0", origins=["http://evil.example:8080"]) as server:
        assert (await get(server, "", headers=page)).status_code == 200
    async with served(host="0.0.0.0", authorize=lambda token: token == "secret") as server:
        assert (await get(server, "", headers=page)).status_code == 200
        assert (await post(server, "offer", headers=page)).status_code == 401
