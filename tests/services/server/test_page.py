"""The page in a real browser: tabs, writing, the camera, the transcript and the ends of calls."""

from __future__ import annotations

import json

import anyio
import numpy as np
import pytest

from bargein.pipeline import Pipeline, Processor, Video
from bargein.processors import Spoken
from bargein.services.providers.brains import BrainChoice
from bargein.services.server import serve_page
from bargein.services.transports import SessionLimits, Transport

from .browser import (
    AUDIBLE,
    BROWSER,
    SAID,
    WAYS,
    agent,
    ask,
    brain,
    choice,
    gone,
    in_call,
    loaded,
    page_of,
    run,
    true,
    use,
)

pytestmark = BROWSER


def test_three_tabs_and_a_reload() -> None:
    """Each tab has its own call; a reload ends the call of its tab alone."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server, allowed=True) as page:
            tabs = [page, await page.context.new_page(), await page.context.new_page()]
            for tab in tabs:
                await tab.goto(server.url)
                await loaded(tab)
                await tab.click("#suggestions button")
            for tab in tabs:
                await tab.bring_to_front()
                await true(tab, SAID)
            assert len(server.sessions.live) == 3
            await page.reload()
            await loaded(page)
            with anyio.fail_after(60):
                while len(server.sessions.live) > 2:  # noqa: ASYNC110  # no event says so
                    await anyio.sleep(0.05)
            await page.click("#talk")
            await in_call(page)
            assert len(server.sessions.live) == 3
            assert not server.sessions.failures

    run(main)


@pytest.mark.parametrize("brains", [(), (choice(),)], ids=["own", "offered"])
def test_the_camera_is_shown_to_the_agent(brains: tuple[BrainChoice, ...]) -> None:
    """Pictures arrive while the camera is on, for a page with a choice of brains and for one without."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    seen: list[Video] = []

    class Eyes(Processor):
        def process(self, frame: Video) -> None:
            seen.append(frame)

    def watching(peer: Transport) -> Pipeline:
        return Pipeline(peer.source, Eyes(), brain(), Spoken(), peer.sink)

    async def main() -> None:
        async with (
            serve_page(watching, port=0, brains=brains, video_fps=2) as server,
            page_of(server, allowed=True) as page,
        ):
            await page.click("#settings-button")
            assert await page.is_visible("#brain") == bool(brains), "no empty menu"
            await page.click("#settings-close")
            await page.click("#talk")
            await page.wait_for_selector("#camera:not([disabled])", timeout=60_000)
            assert not seen
            await page.click("#camera")
            with anyio.fail_after(60):
                while len(seen) < 3:  # noqa: ASYNC110  # no event says so
                    await anyio.sleep(0.05)
            assert await page.is_visible("#preview")
            await page.click("#camera")
            await true(page, "bargein.page.call.connection.picture.sender.track === null")
            assert await page.is_hidden("#preview")
            count = len(seen)
            await page.wait_for_timeout(1200)
            assert len(seen) <= count + 1
            await page.click("#talk")
            await gone(server)
        pixels = seen[0].data
        assert isinstance(pixels, np.ndarray)
        assert pixels.std() > 10, "there is something in the picture"

    run(main)


def test_without_a_microphone_one_can_write() -> None:
    """The microphone is refused: the page says so, the call continues in writing and sound, and Escape interrupts."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            await page.click("#talk")
            await in_call(page)
            assert await page.inner_text("#status") == "No microphone: you can write"
            assert "allow the microphone" in await page.inner_text("#banner")
            assert await page.inner_text("#mute-label") == "Use microphone"
            await ask(page, "What is the weather?")
            await true(page, SAID)
            await true(page, f"bargein.timeline.levels.agent.some((level) => level > {AUDIBLE})")
            await page.press("#text", "Escape")
            await true(page, "bargein.conversation.lines.some((line) => line.cut)")
            assert await page.inner_text("#cuts-value") == "1"
            await page.press("#text", "Escape")  # it cuts nothing, and is not counted
            await page.wait_for_timeout(500)
            assert await page.inner_text("#cuts-value") == "1"
            await page.click("#talk")
            await true(page, "bargein.state === 'off'")
            await gone(server)

    run(main)


def test_writing_begins_a_call() -> None:
    """A suggestion or a typed message starts a call, and does not ask for the microphone."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            await page.click("#suggestions button")
            await true(page, SAID)
            assert await page.is_hidden("#banner")
            assert (await page.evaluate("bargein.conversation.lines[0]"))["text"] == "What is the weather?"
            assert await page.evaluate("bargein.figures.turns.length") == 1
            await page.click("#talk")
            await gone(server)
            await ask(page, "And tomorrow?")
            assert await page.inner_text("#turn-value") == "–", "the figures of the last call are gone"
            await true(page, "bargein.conversation.lines.filter((line) => line.heard.startsWith('It is')).length === 2")
            assert "New call" in await page.inner_text("#log"), "and its words are kept"

    run(main)


def test_words_do_not_turn_the_page_round() -> None:
    """A character that reverses the direction of text has no effect behind the words that contain it."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            words = "\u202egnp.\u202d"
            for call in (f"user('u', {words!r}, true)", f"heard('a', {words!r}, true)"):
                await page.evaluate(f"bargein.conversation.{call}")
            tool = {"call": "c", "name": words, "arguments": words, "state": "finished", "output": words}
            await page.evaluate("(tool) => bargein.conversation.tool(tool)", tool)
            loose = """[...document.querySelectorAll('#log li')].filter((line) => {
                for (const each of line.querySelectorAll('bdi')) each.remove();
                return /[\u202a-\u202e\u2066-\u2069]/.test(line.textContent);
            }).length"""
            assert await page.locator("#log li bdi").count() == 4
            assert await page.evaluate(loose) == 0
            assert await page.evaluate("document.querySelectorAll('#log li').length") == 3

    run(main)


def test_the_transcript_can_be_saved() -> None:
    """As text for people, and as JSON with timings and events."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            await page.click("#suggestions button")
            await true(page, SAID)
            await page.keyboard.press("Escape")
            await true(page, "bargein.conversation.lines.some((line) => line.cut)")
            saved: dict[str, str] = {}
            for kind in ("text", "json"):
                await page.click("#save summary")
                async with page.expect_download() as download:
                    await page.click(f"#save-{kind}")
                saved[kind] = await anyio.Path(await (await download.value).path()).read_text()
        first, answer, mark = saved["text"].splitlines()
        assert first == "You: What is the weather?"
        assert answer.startswith("Agent: It is")
        assert answer.endswith("[interrupted]")
        assert mark == "(Interrupted)"
        whole = json.loads(saved["json"])
        assert whole["conversation"][0]["text"] == "What is the weather?"
        assert whole["figures"]["interruptions"] == 1
        assert {"text", "transcript", "flush"} <= {event["type"] for event in whole["events"]}

    run(main)


@WAYS
def test_a_page_that_is_closed_ends_its_session(way: str) -> None:
    """At once, though nobody has hung up. The page gives the token and the parameters that it was opened with."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with (
            serve_page(agent, port=0, brains=[choice()], authorize="a+b".__eq__) as server,
            page_of(server) as page,
        ):
            await page.goto(f"{server.url}?token=a%2Bb&customer=42")
            await loaded(page)
            await use(page, way)
            await page.click("#talk")
            await in_call(page)
            (live,) = server.sessions.live.values()
            assert dict(live.transport.peer.params) == {"customer": "42", "brain": "weather"}
            await page.goto("about:blank")
            with anyio.fail_after(10):  # without a goodbye, a WebRTC connection is missed much later
                while server.sessions.live:  # noqa: ASYNC110  # no event says so
                    await anyio.sleep(0.05)
            assert not server.sessions.failures

    run(main)


def test_a_call_that_is_given_up_leaves_nothing() -> None:
    """Hung up while it is being opened, a dozen times: no session stays, and the next call is a good one."""

    async def main() -> None:
        async with serve_page(agent, port=0, limits=SessionLimits(open_seconds=2)) as server, page_of(server) as page:
            for number in range(12):
                way = ("webrtc", "websocket")[number % 2]
                await page.evaluate(f"document.getElementById('transport').value = {way!r}")
                await page.evaluate("document.getElementById('talk').click()")
                await page.wait_for_timeout(20 * number)
                await page.evaluate("document.getElementById('talk').click()")
                assert await page.evaluate("bargein.state") == "off"
            await gone(server)
            await page.click("#talk")
            await in_call(page)
            assert len(server.sessions.live) == 1

    run(main)


@WAYS
def test_on_a_page_that_is_not_secure_one_writes_and_hears(way: str) -> None:
    """Over http from another machine, browsers allow neither a microphone nor a sound thread. Typing and listening
    still work."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with (
            serve_page(agent, port=0, host="0.0.0.0", origins=["*"], brains=[choice()]) as server,
            page_of(server) as page,
        ):
            await page.goto(f"http://agent.test:{server.port}/")
            await loaded(page)
            assert not await page.evaluate("isSecureContext")
            await use(page, way)
            await page.click("#talk")
            await in_call(page)
            assert "over https" in await page.inner_text("#banner")
            await ask(page, "What is the weather?")
            await true(page, SAID)
            await true(page, f"bargein.timeline.levels.agent.some((level) => level > {AUDIBLE})")
            await page.press("#text", "Escape")
            await true(page, "bargein.conversation.lines.some((line) => line.cut)")
            await page.click("#talk")
            await gone(server)

    run(main)


def test_a_server_that_is_full_says_so() -> None:
    """The page shows the sentence, keeps the conversation, and can be used again."""

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server, allowed=True) as page:
            await page.evaluate("bargein.conversation.user('', 'What I said before', true)")
            server.sessions.draining = True
            await page.click("#talk")
            await page.wait_for_selector("#banner")
            assert "try another server, or try later" in await page.inner_text("#banner")
            assert await page.inner_text("#talk-label") == "Talk"
            assert "What I said before" in await page.inner_text("#log")
            server.sessions.draining = False
            await page.click("#talk")
            await in_call(page)
            assert "What I said before" in await page.inner_text("#log")

    run(main)
