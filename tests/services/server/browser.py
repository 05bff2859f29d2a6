"""The page in a real browser, for tests: agents, the browser, and waiting for what the page shows.

To start a browser costs more than most tests. So one is started for all tests of a process, and each test has its own
context in it: a browser without a past. It belongs to an event loop, so all these tests run on one: see `run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from bargein.pipeline import Pipeline
from bargein.pipeline.lowlevel import Samples
from bargein.processors import Spoken, Turns
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText
from bargein.services.providers.brains import BrainChoice
from bargein.services.providers.espeak import ESpeak
from bargein.services.providers.pocketsphinx import PocketSphinx
from bargein.services.server import PageServer, serve_page
from bargein.services.transports import Transport
from tests.environment import EXTENDED, find

T = TypeVar("T")

BROWSER = [pytest.mark.timeout(180), pytest.mark.needs("chromium"), pytest.mark.real, pytest.mark.slow]
"""Marks of a test that opens a browser."""
WAYS = pytest.mark.parametrize("way", ["webrtc", "websocket"])
"""The two connections, for a test whose fact depends on the connection."""
WEBRTC = pytest.mark.parametrize("way", ["webrtc", "websocket"] if EXTENDED else ["webrtc"])
"""The two connections, for a test whose fact is the same code for both."""
SHOTS = Path(__file__).parents[3] / "build" / "screenshots"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",  # a microphone that beeps and a camera
    "--host-resolver-rules=MAP agent.test 127.0.0.1",
)
ANSWER = (
    "It is sunny in Paris, and it will stay so until the end of the week. In the evenings a light wind comes from the "
    "west, and the nights are clear, so that you will see the stars from every bridge over the river. On Thursday a "
    "few clouds pass over the hills, but they bring no rain, and in the afternoon the sky is as blue as it was before. "
)
"""Long enough to be interrupted on a machine that is busy with other tests."""
AUDIBLE = 0.01
"""A level (root mean square of full scale) above this is heard."""
SAID = "bargein.conversation.lines.some((line) => line.heard.startsWith('It is'))"
"""The answer is being heard."""


class _Browsers:
    """The event loop of the tests that open a browser, and the browsers, by the file that is their microphone."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.playwright: Any = None
        self.open: dict[Path | None, Any] = {}

    async def get(self, microphone: Path | None) -> Any:
        """Return the browser with this microphone. The first test starts it."""
        playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
        if self.playwright is None:
            self.playwright = await playwright.async_playwright().start()
        if microphone not in self.open:
            file = () if microphone is None else (f"--use-file-for-fake-audio-capture={microphone}%noloop",)
            launch = self.playwright.chromium.launch
            self.open[microphone] = await launch(executable_path=find("chromium"), args=[*FLAGS, *file])
        return self.open[microphone]

    async def stop(self) -> None:
        with anyio.move_on_after(10, shield=True):
            for browser in self.open.values():
                await browser.close()
            if self.playwright is not None:
                await self.playwright.stop()


_browsers: _Browsers | None = None


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run a test on the event loop of the browser. After a failure, the next test begins with another browser."""
    global _browsers  # a process has one
    if _browsers is None:
        _browsers = _Browsers()
    try:
        return _browsers.runner.run(_call(main))
    except BaseException:
        close()
        raise


async def _call(main: Callable[[], Awaitable[T]]) -> T:
    return await main()


def close() -> None:
    """Close the browsers and the event loop."""
    global _browsers
    if _browsers is not None:
        browsers, _browsers = _browsers, None
        browsers.runner.run(browsers.stop())
        browsers.runner.close()


class Weather(LanguageModel):
    """Has much to say."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[str]:
        yield ANSWER


class Deaf(SpeechToText):
    """Understands nothing, and costs nothing: most tests type."""

    async def transcribe(self, sound: AsyncIterator[Samples]) -> AsyncIterator[str]:
        async for _ in sound:
            pass
        yield ""


def agent(peer: Transport) -> Pipeline:
    """Build an agent that answers typed words."""
    return Pipeline(peer.source, brain(), Spoken(), peer.sink)


def brain(ear: SpeechToText | None = None) -> Cascade:
    """Return a cascade that talks about the weather."""
    turns = Turns(silence_ms=500, transcript_ms=30_000)  # a busy machine takes longer to hear what was said
    return Cascade(ear or Deaf(), Weather(), ESpeak(), turns=turns)


@asynccontextmanager
async def serve_listening(**options: Any) -> AsyncIterator[PageServer]:
    """Serve an agent that answers spoken words. Its model is loaded before the first call."""
    ear = PocketSphinx()
    async with (
        ear,
        serve_page(lambda peer: Pipeline(peer.source, brain(ear), Spoken(), peer.sink), **options) as server,
    ):
        yield server


def choice() -> BrainChoice:
    """Return the weather agent as a choice of the page."""
    return BrainChoice(
        name="weather",
        title="Talks of the weather",
        sees=True,
        suggestions=("What is the weather?", "Will it rain?"),
        make=lambda: Pipeline(),
        write=lambda: Pipeline(),
    )


@asynccontextmanager
async def page_at(
    url: str,
    *,
    allowed: bool = False,
    microphone: Path | None = None,
    width: int = 1280,
    height: int = 800,
    script: str = "",
    **options: Any,
) -> AsyncIterator[Any]:
    """Open the page in a browser without a past. An error in the page fails the test.

    Args:
        url: The page's address.
        allowed: Whether the user allows microphone and camera. If not, they are refused.
        microphone: A sound file that takes the place of the microphone, which beeps.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        script: Runs before the page's own.
        **options: As for Playwright's `new_context`.
    """
    assert _browsers is not None, "it belongs to an event loop: use run(main)"
    browser = await _browsers.get(microphone)
    complaints: list[str] = []
    options.setdefault("reduced_motion", "reduce")  # to paint what moves costs more than the tests do
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        if allowed:
            await context.grant_permissions(["microphone", "camera"])
        await context.add_init_script(script)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: complaints.append(told.text) if "Content Security" in told.text else None)
        await page.goto(url)
        await loaded(page)
        yield page
    finally:
        await context.close()
    assert not complaints


@asynccontextmanager
async def page_of(server: PageServer, **options: Any) -> AsyncIterator[Any]:
    """Open the page of a server of this process."""
    async with page_at(server.url, **options) as page:
        yield page


async def loaded(page: Any) -> None:
    """Wait until the page knows what the server offers."""
    await true(page, "document.querySelector('#transport').options.length > 0")


async def true(page: Any, expression: str, seconds: float = 90) -> None:
    """Wait until the expression is true. The page looks itself: its policy refuses Playwright's own waiting."""
    with anyio.fail_after(seconds):
        look = f"while (!({expression})) await new Promise((done) => setTimeout(done, 20));"
        await page.evaluate(f"(async () => {{ {look} }})()")


async def ask(page: Any, text: str) -> None:
    """Type a message and send it."""
    await page.fill("#text", text)
    await page.press("#text", "Enter")


async def use(page: Any, way: str) -> None:
    """Choose a connection in the settings."""
    await page.click("#settings-button")
    await page.select_option("#transport", way)
    await page.click("#settings-close")


async def in_call(page: Any) -> None:
    """Wait until the call is open."""
    await page.wait_for_selector("#interrupt:not([disabled])", timeout=90_000)


async def gone(server: PageServer) -> None:
    """Wait until every session is over."""
    with anyio.fail_after(60):
        while server.sessions.live:  # noqa: ASYNC110  # no event says so
            await anyio.sleep(0.05)
