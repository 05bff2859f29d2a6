"""The page in a real browser, for tests: an agent, a browser, and waiting for what the page shows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from bargein.pipeline import Pipeline
from bargein.processors import Spoken, Turns
from bargein.services.cascade import Cascade, LanguageModel, Prompt
from bargein.services.providers.brains import BrainChoice
from bargein.services.providers.espeak import ESpeak
from bargein.services.providers.pocketsphinx import PocketSphinx
from bargein.services.server import PageServer
from bargein.services.transports import Transport
from tests.environment import find

BROWSER = [pytest.mark.timeout(120), pytest.mark.needs("chromium"), pytest.mark.real]
"""Marks of a test that opens a browser."""
SHOTS = Path(__file__).parents[3] / "build" / "screenshots"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
DEVICES = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
"""A microphone that beeps and a camera, both allowed without a question."""
ANSWER = (
    "It is sunny in Paris, and it will stay so until the end of the week. In the evenings a light wind comes from the "
    "west, and the nights are clear, so that you will see the stars from every bridge over the river. "
)


class Weather(LanguageModel):
    """Has much to say."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[str]:
        yield ANSWER


def agent(peer: Transport) -> Pipeline:
    """Build an agent that talks about the weather."""
    return Pipeline(peer.source, brain(), Spoken(), peer.sink)


def brain() -> Cascade:
    """Return a cascade that talks about the weather."""
    turns = Turns(silence_ms=500, transcript_ms=30_000)  # a busy machine takes longer to hear what was said
    return Cascade(PocketSphinx(), Weather(), ESpeak(), turns=turns)


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
    url: str, *flags: str, width: int = 1280, height: int = 800, script: str = "", **options: Any
) -> AsyncIterator[Any]:
    """Open the page in its own browser. `script` runs before the page's own. An error in the page fails the test."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    complaints: list[str] = []
    async with playwright.async_playwright() as play:
        browser = await play.chromium.launch(executable_path=find("chromium"), args=[*FLAGS, *flags])
        context = await browser.new_context(viewport={"width": width, "height": height}, **options)
        await context.add_init_script(script)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: complaints.append(told.text) if "Content Security" in told.text else None)
        await page.goto(url)
        await loaded(page)
        try:
            yield page
        finally:
            await browser.close()
    assert not complaints


@asynccontextmanager
async def page_of(server: PageServer, *flags: str, **options: Any) -> AsyncIterator[Any]:
    """Open the page of a server of this process."""
    async with page_at(server.url, *flags, **options) as page:
        yield page


async def loaded(page: Any) -> None:
    """Wait until the page knows what the server offers."""
    await true(page, "document.querySelector('#transport').options.length > 0")


async def true(page: Any, expression: str, seconds: float = 40) -> None:
    """Wait until the expression is true. The page's policy refuses Playwright's own waiting."""
    with anyio.fail_after(seconds):
        while not await page.evaluate(expression):  # noqa: ASYNC110  # no event says so
            await anyio.sleep(0.05)


async def use(page: Any, way: str) -> None:
    """Choose a connection in the settings."""
    await page.click("#settings-button")
    await page.select_option("#transport", way)
    await page.click("#settings-close")


async def in_call(page: Any) -> None:
    """Wait until the call is open."""
    await page.wait_for_selector("#interrupt:not([disabled])", timeout=30_000)


async def gone(server: PageServer) -> None:
    """Wait until every session is over."""
    with anyio.fail_after(60):
        while server.sessions.live:  # noqa: ASYNC110  # no event says so
            await anyio.sleep(0.05)
