"""The page when its server dies, stands still or hangs up: it says so, reconnects, and keeps the conversation."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bargein.pipeline import Pipeline, Processor, UserText
from bargein.processors import Spoken
from bargein.services.cascade import Cascade
from bargein.services.server import PageServer, serve_page
from bargein.services.transports import Transport
from tests.environment import EXTENDED

from .browser import (
    BROWSER,
    SAID,
    WAYS,
    WEBRTC,
    agent,
    ask,
    brain,
    choice,
    gone,
    in_call,
    page_at,
    page_of,
    run,
    true,
    use,
)

pytestmark = BROWSER
ROOT = Path(__file__).parents[3]
LONG = pytest.mark.skipif(not EXTENDED, reason="BARGEIN_EXTENDED=1 runs it")
STATES = """
  window.states = [];
  const note = () => states.push(bargein.state);
  new MutationObserver(note).observe(document.getElementById("status"), { attributes: true });
"""
"""Has the page note every state that it shows."""
BROKEN = "void (window.RTCPeerConnection = class { constructor() { throw new Error('no'); } })"


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def server_at(port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a server as a process, until the block is left."""
    command = [sys.executable, "-m", "tests.services.server.page_server", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("http"), "the server begins"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@WEBRTC
def test_a_server_that_dies_and_comes_back(way: str) -> None:
    """The page says that it reconnects, keeps the conversation, and goes on in a new session."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    port = free_port()

    async def main() -> None:
        with server_at(port) as first:
            async with page_at(f"http://localhost:{port}/", allowed=True) as page:
                await use(page, way)
                await page.click("#talk")
                await in_call(page)
                await page.keyboard.press("m")  # the microphone of tests beeps
                await ask(page, "What is the weather?")
                await true(page, SAID)
                first.kill()
                first.wait()
                killed = time.monotonic()
                await true(page, "bargein.state === 'reconnecting'")
                took = time.monotonic() - killed
                assert "Reconnecting" in await page.inner_text("#status")
                assert await page.inner_text("#talk-label") == "Hang up"
                with server_at(port):
                    await true(page, "!['reconnecting', 'lost'].includes(bargein.state)")
                    assert "What is the weather?" in await page.inner_text("#log")
                    assert "does not remember" in await page.inner_text("#log")
                    await ask(page, "And now?")
                    heard = "bargein.conversation.lines.filter((line) => line.heard.startsWith('It is')).length === 2"
                    await true(page, heard)
                    assert took < 5, "at once, also on a busy machine"

    run(main)


@WEBRTC
def test_a_server_that_dies_for_good(way: str) -> None:
    """After 20 seconds the page says what happened and what to do; Talk fails plainly; the words stay throughout."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    port = free_port()

    async def main() -> None:
        with server_at(port) as server:
            async with page_at(f"http://localhost:{port}/", allowed=True) as page:
                await use(page, way)
                await page.click("#talk")
                await in_call(page)
                await page.evaluate("bargein.conversation.user('', 'What I said before', true)")
                await page.clock.install()
                server.kill()
                server.wait()
                await true(page, "bargein.state === 'reconnecting'")
                await page.clock.fast_forward(20_000)
                await true(page, "bargein.state === 'lost'")
                told = await page.inner_text("#banner")
                assert "did not come back within 20 seconds" in told
                assert "Check that the server is running" in told
                await page.click("#banner .close")
                await page.click("#talk")
                await page.wait_for_selector("#banner")
                assert "The server does not answer" in await page.inner_text("#banner")
                assert "What I said before" in await page.inner_text("#log")
                assert await page.inner_text("#talk-label") == "Talk"

    run(main)


async def _lose_socket(page: Any, server: PageServer) -> None:
    """Close the WebSocket without a goodbye."""
    await page.evaluate("bargein.page.call.connection.socket.close()")


async def _lose_ice(page: Any, server: PageServer) -> None:
    """Close the server's end of the ICE connection, as aioice does after thirty seconds without an answer."""
    (live,) = server.sessions.live.values()
    await live.transport.link._dtls.transport._connection.close()  # type: ignore[attr-defined]


async def _doubt_ice(page: Any, server: PageServer) -> None:
    """Let the page miss the server, which still holds the session."""
    await page.evaluate("void bargein.page.call.connection.hears.lost()")


@pytest.mark.parametrize(("way", "lose"), [("websocket", _lose_socket), ("webrtc", _lose_ice), ("webrtc", _doubt_ice)])
def test_a_connection_that_is_lost(way: str, lose: Callable[[Any, PageServer], Awaitable[None]]) -> None:
    """The page says so at once. The agent goes on with the conversation, and new words stand below the old ones."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        agents: list[Cascade] = []

        def remembering(peer: Transport) -> Pipeline:
            agents.append(brain())
            return Pipeline(peer.source, agents[-1], Spoken(), peer.sink)

        async with serve_page(remembering, port=0) as server, page_of(server, allowed=True) as page:
            await use(page, way)
            await page.click("#talk")
            await in_call(page)
            await page.keyboard.press("m")  # the microphone of tests beeps
            await ask(page, "What is the weather?")
            await true(page, SAID)
            (before,) = server.sessions.live
            await page.evaluate(f"(() => {{ {STATES} }})()")
            await lose(page, server)
            await true(page, "bargein.page.call?.connection.resumed && !bargein.page.call.recovering")
            assert "reconnecting" in await page.evaluate("states")
            await ask(page, "And tomorrow?")
            await true(page, "bargein.conversation.lines.filter(({ heard }) => heard.startsWith('It is')).length === 2")
            shown = await page.inner_text("#log")
            assert "Reconnected" in shown
            assert "does not remember" not in shown
            (after,) = server.sessions.live
            assert after != before, "it is another session"
            await page.click("#talk")
            await gone(server)
            assert not server.sessions.failures
        first, second = agents
        assert second.history is first.history
        assert [entry.text for entry in second.history if entry.role == "user"] == [
            "What is the weather?",
            "And tomorrow?",
        ]

    run(main)


def test_a_call_that_was_lost_for_good_goes_on_with_talk() -> None:
    """If the server comes back in time, the next call has the conversation."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with serve_page(agent, port=0) as server, page_of(server) as page:
            await page.click("#talk")
            await in_call(page)
            await ask(page, "What is the weather?")
            await true(page, SAID)
            server.sessions.draining = True  # it refuses everybody
            await page.clock.install()
            await page.evaluate("void bargein.page.call.connection.hears.lost()")
            await true(page, "bargein.state === 'reconnecting'")
            await page.clock.fast_forward(20_000)
            await true(page, "bargein.state === 'lost'")
            server.sessions.draining = False
            await page.click("#talk")
            await true(page, "bargein.page.call?.connection?.resumed")
            assert "The agent remembers" in await page.inner_text("#log")

    run(main)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_server_that_stands_still() -> None:
    """Over WebRTC the page looks for a new way to the same session, and finds it once the server goes on."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    port = free_port()

    async def main() -> None:
        with server_at(port) as server:
            async with page_at(f"http://localhost:{port}/", allowed=True) as page:
                await use(page, "webrtc")
                await page.click("#talk")
                await in_call(page)
                await page.keyboard.press("m")
                server.send_signal(signal.SIGSTOP)
                try:
                    await true(page, "bargein.state === 'reconnecting'")
                finally:
                    server.send_signal(signal.SIGCONT)
                await true(page, "!['reconnecting', 'lost'].includes(bargein.state)")
                assert "does not remember" not in await page.inner_text("#log"), "it is the same session"
                await ask(page, "What is the weather?")
                await true(page, SAID)

    run(main)


@WAYS
def test_an_agent_that_hangs_up(way: str) -> None:
    """The page says so, and does not call again by itself."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            await use(page, way)
            await page.click("#talk")
            await in_call(page)
            (live,) = server.sessions.live.values()
            live.session.end()
            await true(page, "bargein.state === 'ended'")
            assert "The agent hung up" in await page.inner_text("#banner")
            assert "Press Talk" in await page.inner_text("#banner")
            await gone(server)
            await page.wait_for_timeout(1000)
            assert not server.sessions.live

    run(main)


class Fruit(Processor):
    """A developer's own processor, with a fault."""

    def process(self, frame: UserText) -> None:
        raise KeyError("apple")


def broken_at_once(peer: Transport) -> Pipeline:
    """Build nothing."""
    raise KeyError("apple")


def broken_later(peer: Transport) -> Pipeline:
    """Build an agent that fails at the first typed message."""
    return Pipeline(peer.source, Fruit(), brain(), Spoken(), peer.sink)


@pytest.mark.parametrize(
    ("way", "build"),
    [
        ("webrtc", broken_at_once),
        ("websocket", broken_later),
        pytest.param("webrtc", broken_later, marks=LONG),
        pytest.param("websocket", broken_at_once, marks=LONG),
    ],
)
def test_the_developer_sees_what_went_wrong(way: str, build: Callable[[Transport], Pipeline]) -> None:
    """On this machine the page shows the exception that ended the session, and the page can be used again."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with serve_page(build, port=0, brains=[choice()]) as server, page_of(server) as page:
            await use(page, way)
            await ask(page, "What is the weather?")
            await true(page, "document.getElementById('banner').innerText.includes('KeyError')")
            assert "apple" in await page.inner_text("#banner")
            assert await page.inner_text("#talk-label") == "Talk"
            assert "What is the weather?" in await page.inner_text("#log")

    run(main)


def test_the_way_that_works_is_taken() -> None:
    """The page uses WebRTC, or the WebSocket where the browser or the network has no WebRTC."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            for broken, way in ((False, "webrtc"), (True, "websocket")):
                if broken:
                    await page.evaluate(BROKEN)
                await page.click("#talk")
                await in_call(page)
                assert await page.evaluate("bargein.page.call.transport") == way
                await page.click("#talk")
                await gone(server)

    run(main)
