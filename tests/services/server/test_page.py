"""The page in a real browser: a spoken question is answered, interrupted, and the sound that arrives is silent."""

from __future__ import annotations

import os
import re
import shutil
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from bargein.pipeline import Audio, Pipeline, Processor, Video
from bargein.pipeline.testing import joined, silence
from bargein.processors import Resample, Spoken
from bargein.services.brains import Choice
from bargein.services.cascade import Cascade, LanguageModel, Prompt
from bargein.services.espeak import ESpeak
from bargein.services.pocketsphinx import PocketSphinx
from bargein.services.server import PageServer, serve_page
from bargein.services.transports import Transport

from ...speech import RATE, errors, utterances, words

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="there is no Chromium; apt install chromium"),
]
SHOTS = Path(__file__).parents[3] / "build" / "screenshots"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
ANSWER = (
    "It is sunny in Paris, and it will stay so until the end of the week. In the evenings a light wind comes from the "
    "west, and the nights are clear, so that you will see the stars from every bridge over the river. "
)
AUDIBLE = 0.01
"""A level (root mean square of full scale) of more than that is heard."""


class Weather(LanguageModel):
    """Has much to say."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[str]:
        yield ANSWER


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, Cascade(PocketSphinx(), Weather(), ESpeak()), Spoken(), peer.sink)


def choice() -> Choice:
    return Choice(
        name="weather", title="Talks of the weather", sees=True, make=lambda: Pipeline(), write=lambda: Pipeline()
    )


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    """A question, when even a busy machine has connected, and later somebody who has heard enough."""
    parts = (silence(5000), utterances()["weather"].samples, silence(5000), utterances()["repeat"].samples)
    sound = np.concatenate([*parts, silence(30_000)])
    resampled = list(Resample(48_000).process(Audio(samples=sound, rate=RATE)))
    path = tmp_path / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(joined(resampled).tobytes())
    return path


@asynccontextmanager
async def page_of(server: PageServer, *flags: str, **options: Any) -> AsyncIterator[Any]:
    """The page, open in a browser of its own; what goes wrong in it fails the test."""
    complaints: list[str] = []
    async with playwright.async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        context = await browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(server.url)
        await page.wait_for_function("document.querySelector('#brain').options.length > 0")
        try:
            yield page
        finally:
            await browser.close()
    assert not complaints


async def gone(server: PageServer) -> None:
    """Wait until every peer's session is over."""
    with anyio.fail_after(60):
        while server.sessions.live:  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.05)


def runs(levels: list[float | None]) -> list[tuple[float, float]]:
    """When there was sound, in seconds; pauses of less than 400 ms belong to it."""
    loud = [at * 0.02 for at, level in enumerate(levels) if (level or 0) > AUDIBLE]
    found: list[tuple[float, float]] = []
    for at in loud:
        if found and at - found[-1][1] < 0.4:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found


@pytest.mark.parametrize("way", ["webrtc", "websocket"])
def test_a_question_an_answer_and_a_barge_in(way: str, microphone: Path) -> None:
    """Heard by the server, answered in sound that arrives, and silent within 200 ms of the interrupt."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")

    async def main() -> None:
        async with (
            serve_page(agent, brains=[choice()]) as server,
            page_of(server, *fake, f"--use-file-for-fake-audio-capture={microphone}%noloop") as page,
        ):
            await page.select_option("#transport", way)
            await page.click("#talk")
            await page.wait_for_function("bargein.figures.reactions.length > 0", timeout=30_000)
            await page.wait_for_timeout(1000)
            lines = await page.evaluate("bargein.conversation.lines")
            levels = await page.evaluate("bargein.timeline.levels")
            marks = await page.evaluate("bargein.timeline.marks")
            figures = await page.evaluate("bargein.figures")
            shown = await page.inner_text("#log")
            SHOTS.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=SHOTS / f"{way}.png")
            (live,) = server.sessions.live.values()
            assert live.session.epoch >= 1
            await page.click("#talk")  # hang up
            await page.wait_for_function("bargein.state === 'off'")
            await gone(server)
        said = next(line for line in lines if line["speaker"] == "user")
        # A browser's noise suppression and a busy machine cost a word or two; that it is heard word for word is for
        # `tests/services/cascade/test_offline.py` to say.
        assert errors(words("What is the weather in Paris?"), words(said["text"])) <= 3
        answer = next(line for line in lines if line["speaker"] == "agent")
        assert answer["cut"]
        assert ANSWER.startswith(answer["heard"])
        assert 3 < len(answer["heard"].split()) < len(ANSWER.split())
        assert answer["heard"] in shown
        assert re.search(r"interrupted, epoch 1\s*silent after \d+ ms", shown)
        cut = next(mark["time"] for mark in marks if mark["kind"] == "cut")
        asked, *_ = runs(levels["user"])
        spoken = [(begin, end) for begin, end in runs(levels["agent"]) if begin < cut]
        assert sum(end - begin for begin, end in spoken) > 1, "the answer is heard"
        assert max(filter(None, levels["agent"])) > 0.05
        assert asked[1] < spoken[0][0] < asked[1] + 4, "after the question"
        assert spoken[-1][1] < cut + 0.2, "silent within 200 ms"
        assert 0 < figures["turns"][0] < 4000
        assert 0 < figures["reactions"][0] < 1500

    anyio.run(main)


def test_the_camera_is_shown_to_the_agent() -> None:
    """While it is on: pictures of what the browser's device sees, about one a second."""
    pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    seen: list[Video] = []

    class Eyes(Processor):
        def process(self, frame: Video) -> None:
            seen.append(frame)

    def watching(peer: Transport) -> Pipeline:
        brain = Cascade(PocketSphinx(), Weather(), ESpeak())
        return Pipeline(peer.source, Eyes(), brain, Spoken(), peer.sink)

    async def main() -> None:
        async with (
            serve_page(watching, brains=[choice()], video_fps=2) as server,
            page_of(server, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream") as page,
        ):
            await page.click("#talk")
            await page.wait_for_selector("#camera:not([disabled])", timeout=10_000)
            await page.wait_for_timeout(500)
            assert not seen
            await page.click("#camera")
            with anyio.fail_after(60):
                while len(seen) < 3:  # noqa: ASYNC110  # nobody tells
                    await anyio.sleep(0.05)
            assert await page.is_visible("#preview")
            await page.click("#camera")
            await page.wait_for_timeout(500)
            count = len(seen)
            await page.wait_for_timeout(1500)
            assert len(seen) <= count + 1
            await page.click("#talk")
            await gone(server)
        pixels = seen[0].data
        assert isinstance(pixels, np.ndarray)
        assert pixels.std() > 10, "there is something in the picture"

    anyio.run(main)


def test_without_a_microphone_one_can_write() -> None:
    """It is refused: the page says what to do, and the agent answers what is written, until Escape."""

    async def main() -> None:
        async with serve_page(agent, brains=[choice()]) as server, page_of(server) as page:
            await page.click("#talk")
            await page.wait_for_selector("#help:not([hidden])")
            await page.wait_for_selector("#text:not([disabled])")
            await page.fill("#text", "What is the weather?")
            await page.press("#text", "Enter")
            await page.wait_for_function("bargein.conversation.lines.some((line) => line.heard.startsWith('It is'))")
            await page.focus("#talk")
            await page.keyboard.press("Escape")
            await page.wait_for_function("bargein.conversation.lines.some((line) => line.cut)")
            assert await page.inner_text("#epoch") == "1"
            await page.click("#talk")
            await page.wait_for_function("bargein.state === 'off'")
            await gone(server)

    anyio.run(main)


def test_everything_has_a_name_for_those_who_do_not_see() -> None:
    """Every control and region, and the log is read aloud as it grows."""

    async def main() -> None:
        async with serve_page(agent, brains=[choice()]) as server, page_of(server) as page:
            nameless = await page.evaluate(
                """[...document.querySelectorAll("button, select, input, meter, section, canvas, ol, video")]
                .filter((node) => !(node.ariaLabel || node.getAttribute("aria-labelledby") || node.labels?.length
                                    || node.innerText?.trim())).map((node) => node.outerHTML)"""
            )
            assert nameless == []
            assert await page.get_by_role("log").get_attribute("aria-live") == "polite"
            for name in ("Talk", "Mute", "Interrupt", "Camera", "Send"):
                assert await page.get_by_role("button", name=name).count() == 1
            await page.keyboard.press("Tab")
            reached = set()
            for _ in range(12):
                reached.add(await page.evaluate("document.activeElement.id"))
                await page.keyboard.press("Tab")
            assert {"brain", "transport", "talk", "log", "timeline"} <= reached

    anyio.run(main)


def test_a_server_that_is_full_says_so() -> None:
    """The page shows the sentence, and can be used again."""

    async def main() -> None:
        async with serve_page(agent, brains=[choice()]) as server, page_of(server) as page:
            server.sessions.draining = True
            await page.click("#talk")
            await page.wait_for_selector("#notes p")
            assert "try another, or later" in await page.inner_text("#notes")
            assert await page.get_attribute("#talk", "aria-pressed") == "false"
            server.sessions.draining = False

    anyio.run(main)
