"""The page in a real browser: a spoken question is answered, interrupted, and the sound that arrives is silent."""

from __future__ import annotations

import re
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
from bargein.processors import Resample, Spoken, Turns
from bargein.services.cascade import Cascade, LanguageModel, Prompt
from bargein.services.providers.brains import BrainChoice
from bargein.services.providers.espeak import ESpeak
from bargein.services.providers.pocketsphinx import PocketSphinx
from bargein.services.server import PageServer, serve_page
from bargein.services.server.app import PAGE
from bargein.services.transports import Transport
from tests.environment import find
from tests.speech import RATE, errors, utterances, words

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.needs("chromium"),
    pytest.mark.real,
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
    turns = Turns(silence_ms=500, transcript_ms=30_000)  # a busy machine takes longer to hear what was said
    return Pipeline(peer.source, Cascade(PocketSphinx(), Weather(), ESpeak(), turns=turns), Spoken(), peer.sink)


def choice() -> BrainChoice:
    return BrainChoice(
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
        browser = await play.chromium.launch(executable_path=find("chromium"), args=[*FLAGS, *flags])
        context = await browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(server.url)
        await true(page, "document.querySelector('#brain').options.length > 0")
        try:
            yield page
        finally:
            await browser.close()
    assert not complaints


async def true(page: Any, expression: str) -> None:
    """Wait until it is. Playwright's own waiting is refused by the page's policy, which is none that it may bypass."""
    with anyio.fail_after(40):
        while not await page.evaluate(expression):  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.05)


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
            await true(page, "bargein.figures.reactions.length > 0")
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
            await true(page, "bargein.state === 'off'")
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
            await true(page, "bargein.conversation.lines.some((line) => line.heard.startsWith('It is'))")
            await page.focus("#talk")
            await page.keyboard.press("Escape")
            await true(page, "bargein.conversation.lines.some((line) => line.cut)")
            assert await page.inner_text("#epoch") == "1"
            await page.click("#talk")
            await true(page, "bargein.state === 'off'")
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
            for name in ("TurnState", "Mute", "Interrupt", "Camera", "Send"):
                assert await page.get_by_role("button", name=name).count() == 1
            await page.keyboard.press("Tab")
            reached = set()
            for _ in range(12):
                reached.add(await page.evaluate("document.activeElement.id"))
                await page.keyboard.press("Tab")
            assert {"brain", "transport", "talk", "log", "timeline"} <= reached

    anyio.run(main)


CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a));
  const colour = (node, which) => rgba(getComputedStyle(node)[which]);
  const ground = (node) => (node ? over(colour(node, "backgroundColor"), ground(node.parentElement)) : [1, 1, 1]);
  const light = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  return [...document.querySelectorAll("body *")]
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .filter((node) => node.checkVisibility() && !node.closest(":disabled, .hidden, noscript"))
    .map((node) => {
      const behind = ground(node);
      const [one, other] = [over(colour(node, "color"), behind), behind].map(luminance);
      return [node.outerHTML.slice(0, 80), (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)];
    });
})()"""
"""Every element with words of its own, and how they stand out from what is behind them, as WCAG has it."""
SAID = """
  const { conversation } = bargein;
  conversation.user("1", "What is", false);
  conversation.user("2", "What is the weather?", true);
  conversation.written("3", "It is sunny in Paris.");
  conversation.heard("3", "It is", false);
  conversation.tool({ call: "c", state: "called", name: "weather", arguments: "{}" });
  conversation.interrupted(1);
  conversation.reacted(1, 90);
  conversation.written("4", "<img src=x onerror='window.harmed = 1'><script>window.harmed = 1</script>");
  conversation.heard("4", "<img src=x onerror='window.harmed = 1'>", false);
  const output = "<img src=x onerror='window.harmed = 1'>";
  conversation.tool({ call: "d", state: "finished", name: "<b>x</b>", output });
"""


def test_what_is_said_is_text_and_can_be_read() -> None:
    """No markup of an agent's or a tool's becomes the page's; all words stand out 4.5 to 1, by day and by night."""

    async def main() -> None:
        async with serve_page(agent, brains=[choice()]) as server, page_of(server, reduced_motion="reduce") as page:
            await page.evaluate(f"(() => {{ {SAID} document.getElementById('help').hidden = false; }})()")
            for state in ("off", "hearing", "speaking", "lost"):
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme=scheme)
                    await page.evaluate(f"document.getElementById('status').dataset.state = {state!r}")
                    pressed = str(state == "hearing").lower()
                    await page.evaluate(f"document.getElementById('talk').setAttribute('aria-pressed', '{pressed}')")
                    await page.wait_for_timeout(50)
                    found = await page.evaluate(CONTRASTS)
                    assert len(found) > 25
                    assert not [each for each in found if each[1] < 4.5], (state, scheme)
            assert "<script>window.harmed" in await page.inner_text("#log")
            assert await page.evaluate("document.querySelectorAll('#log img, #log script, #log b').length") == 0
            assert await page.evaluate("window.harmed") is None
            busy = "[...document.querySelectorAll('#log li')].map((node) => node.getAttribute('aria-busy') === 'true')"
            assert await page.evaluate(busy) == [True, False, False, False, False, True, False], "not read word by word"

    anyio.run(main)


SOUND_THREAD = """(() => {
  const sampleRate = 48000, currentTime = 0, made = {};
  class AudioWorkletProcessor {
    port = { posted: [], postMessage: (message) => this.port.posted.push(message) };
  }
  const registerProcessor = (name, its) => (made[name] = its);
  SOURCE
  const play = (player, blocks) => {
    const all = [];
    for (let block = 0; block < blocks; block++) {
      const output = new Float32Array(128);
      player.process([], [[output]]);
      all.push(...output);
    }
    return all;
  };
  const give = (player, data) => player.port.onmessage({ data });
  const piece = (value, epoch) => ({ epoch, samples: new Int16Array(1920).fill(value * 32767).buffer });
  const player = new made.player();
  give(player, piece(0.5, 0));
  give(player, piece(0.5, 1));
  const before = play(player, 2);
  give(player, { flush: 1 });
  give(player, piece(0.9, 0)); // a straggler
  const after = play(player, 20);
  give(player, piece(0.25, 1));
  play(player, 2);
  give(player, { flush: 1 }); // says nothing new
  const kept = play(player, 20);
  give(player, piece(0.5, 1));
  play(player, 2);
  give(player, { held: true });
  const held = play(player, 20);
  give(player, { held: false });
  const resumed = play(player, 20);
  give(player, { held: true });
  give(player, { flush: 2 });
  give(player, piece(0.5, 2));
  const next = play(player, 20);

  const captured = (pitch) => {
    const capture = new made.capture({ processorOptions: { less: 3 } });
    for (let block = 0; block < 75; block++) {
      const angle = (at) => (2 * Math.PI * pitch * (block * 128 + at)) / sampleRate;
      const input = Float32Array.from({ length: 128 }, (_, at) => 0.5 * Math.sin(angle(at)));
      capture.process([[input]]);
    }
    const samples = capture.port.posted.slice(1).flatMap((sound) => [...new Int16Array(sound)]);
    return [samples.length, Math.max(...samples.map(Math.abs)) / 32767];
  };
  const tones = { low: captured(1000), middle: captured(5000), high: captured(10000) };
  return { before, after, kept, held, resumed, next, ...tones };
})()"""
"""The worklets with a hand for a browser: what they play and post."""


def test_the_sound_thread() -> None:
    """A flush is silence in 5 ms and keeps what is new, a hold keeps all; what is sent less of has no false tones."""

    async def main() -> dict[str, list[float]]:
        async with serve_page(agent, brains=[choice()]) as server, page_of(server) as page:
            source = (PAGE / "worklets.js").read_text()
            played: dict[str, list[float]] = await page.evaluate(SOUND_THREAD.replace("SOURCE", source))
            return played

    told = anyio.run(main)
    sound = {name: np.array(values) for name, values in told.items()}
    assert np.allclose(sound["before"][:256], 0.5, atol=0.001)
    assert sound["after"][0] > 0.9, "the old fades while the new begins"
    assert np.all(np.diff(sound["after"][:240]) < 0.002)
    assert np.allclose(sound["after"][240:1920], 0.5, atol=0.001)
    assert not sound["after"][1920:].any(), "and no straggler comes"
    assert np.count_nonzero(sound["kept"]) == 1920 - 256, "what is not flushed goes on where it was"
    assert not sound["held"][260:].any()
    assert np.count_nonzero(sound["held"][:260]) + np.count_nonzero(sound["resumed"]) >= 1920 - 256 - 2
    assert np.count_nonzero(sound["next"]) >= 1918, "an interrupt ends a hold"
    for name, level in (("low", 0.5), ("middle", 0.5)):
        count, most = told[name]
        assert count == 2880
        assert most == pytest.approx(level, abs=0.01)
    assert told["high"][1] < 0.001


@pytest.mark.parametrize("way", ["webrtc", "websocket"])
def test_a_page_that_is_closed_ends_its_session(way: str) -> None:
    """At once, though nobody has hung up. The page was opened with the token that it then gives."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with serve_page(agent, brains=[choice()], authorize="a+b".__eq__) as server, page_of(server) as page:
            await page.goto(f"{server.url}?token=a%2Bb")
            await true(page, "document.querySelector('#brain').options.length > 0")
            await page.select_option("#transport", way)
            await page.click("#talk")
            await page.wait_for_selector("#text:not([disabled])")
            assert len(server.sessions.live) == 1
            await page.goto("about:blank")
            with anyio.fail_after(4):
                while server.sessions.live:  # noqa: ASYNC110  # nobody tells
                    await anyio.sleep(0.05)
            assert not server.sessions.failures

    anyio.run(main)


def test_a_call_that_is_given_up_leaves_nothing() -> None:
    """Hung up while it is being opened, a dozen times: no session stays, and the next call is a good one."""

    async def main() -> None:
        async with serve_page(agent, brains=[choice()]) as server, page_of(server) as page:
            for number in range(12):
                await page.select_option("#transport", ("webrtc", "websocket")[number % 2])
                await page.evaluate("document.getElementById('talk').click()")
                await page.wait_for_timeout(20 * number)
                await page.evaluate("document.getElementById('talk').click()")
                assert await page.evaluate("bargein.state") == "off"
            await gone(server)
            await page.click("#talk")
            await page.wait_for_selector("#text:not([disabled])")
            assert len(server.sessions.live) == 1

    anyio.run(main)


@pytest.mark.parametrize("way", ["webrtc", "websocket"])
def test_on_a_page_that_is_not_secure_one_can_write(way: str) -> None:
    """Of another machine, over http: browsers give no microphone to it, and no sound thread. It says so, and works."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with (
            serve_page(agent, host="0.0.0.0", brains=[choice()]) as server,
            page_of(server, "--host-resolver-rules=MAP agent.test 127.0.0.1") as page,
        ):
            await page.goto(f"http://agent.test:{server.port}/")
            await true(page, "document.querySelector('#brain').options.length > 0")
            assert not await page.evaluate("isSecureContext")
            await page.select_option("#transport", way)
            await page.click("#talk")
            await page.wait_for_selector("#text:not([disabled])")
            assert "over https" in await page.inner_text("#help")
            assert ("There is no sound here" in await page.inner_text("#notes")) == (way == "websocket")
            await page.fill("#text", "What is the weather?")
            await page.press("#text", "Enter")
            await true(page, "bargein.conversation.lines.some((line) => line.heard.startsWith('It is'))")
            await page.click("#talk")
            await gone(server)

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
