"""The page in a real browser: speech is heard and answered, interrupts, is muted and pushed to talk."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Pipeline, Processor
from bargein.pipeline.testing import joined, silence
from bargein.processors import Commit, Resample, Spoken
from bargein.services.server import PageServer, serve_page
from bargein.services.transports import LiveSession, Transport
from tests.environment import EXTENDED
from tests.speech import RATE, errors, utterances, words

from .browser import (
    ANSWER,
    AUDIBLE,
    BROWSER,
    SHOTS,
    WAYS,
    agent,
    brain,
    choice,
    gone,
    in_call,
    page_of,
    run,
    serve_listening,
    true,
    use,
)

pytestmark = BROWSER


MICROPHONE = """
  const context = new AudioContext();
  const out = context.createMediaStreamDestination();
  const silence = new ConstantSourceNode(context, { offset: 0 }); // a stream without any source sends nothing
  silence.connect(out);
  silence.start();
  navigator.mediaDevices.getUserMedia = async () => out.stream.clone();
  window.say = async (url) => {
    const source = context.createBufferSource();
    source.buffer = await context.decodeAudioData(await (await fetch(url)).arrayBuffer());
    source.connect(out);
    source.start();
  };
"""
"""A microphone that is silent until a test says something."""


def sound_of(name: str) -> bytes:
    """Return an utterance as a WAV file."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(utterances()[name].samples.tobytes())
    return sound.getvalue()


async def say(page: Any, name: str) -> None:
    """Say an utterance into the `MICROPHONE`."""
    await page.route(f"**/{name}.wav", lambda route: route.fulfill(body=sound_of(name), content_type="audio/wav"))
    await page.evaluate(f"say('{name}.wav')")


async def listens(server: PageServer) -> None:
    """Wait until the microphone's sound arrives at the agent."""
    with anyio.fail_after(60):
        while not any(map(_hears, server.sessions.live.values())):  # noqa: ASYNC110  # no event says so
            await anyio.sleep(0.02)


def _hears(live: LiveSession) -> bool:
    return live.session.statistics().processors["cascade/Vad"].frames_in > 0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A question, when even a busy machine has connected, and later somebody who has heard enough."""
    parts = (silence(5000), utterances()["weather"].samples, silence(5000), utterances()["repeat"].samples)
    sound = np.concatenate([*parts, silence(30_000)])
    resampled = list(Resample(48_000).process(Audio(samples=sound, rate=RATE)))
    path = tmp_path / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(joined(resampled).tobytes())
    return path


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


class Call:
    """What a page has of a call in which a spoken question was answered, and the answer interrupted in speech."""

    @classmethod
    async def of(cls, page: Any) -> Call:
        """Wait for the interrupt, and for the silence after it."""
        await true(page, "bargein.figures.reactions.length > 0")
        cut = "Math.max(...bargein.timeline.marks.filter(({ kind }) => kind === 'cut').map(({ time }) => time))"
        await true(page, f"bargein.timeline.levels.agent.length * 0.02 > {cut} + 1")
        call = cls()
        call.lines = await page.evaluate("bargein.conversation.lines")
        call.levels = await page.evaluate("bargein.timeline.levels")
        call.marks = await page.evaluate("bargein.timeline.marks")
        call.figures = await page.evaluate("bargein.figures")
        call.shown = await page.inner_text("#log")
        return call

    lines: list[dict[str, Any]]
    levels: dict[str, list[float | None]]
    marks: list[dict[str, Any]]
    figures: dict[str, list[float]]
    shown: str

    def check(self, *, silent_within: float) -> None:
        """Check that the question was understood, the answer was heard, and silent after the interrupt."""
        said = next(line for line in self.lines if line["speaker"] == "user")
        # A browser's noise suppression and a busy machine cost a word or two; that it is heard word for word is for
        # `tests/services/cascade/test_offline.py` to say.
        assert errors(words("What is the weather in Paris?"), words(said["text"])) <= 3
        # On a busy machine the agent asks for a moment first.
        answer = next(line for line in self.lines if line["speaker"] == "agent" and line["text"] in ANSWER)
        assert answer["cut"]
        assert ANSWER.startswith(answer["heard"])
        assert 3 < len(answer["heard"].split()) < len(ANSWER.split())
        assert answer["heard"] in self.shown
        assert re.search(r"Interrupted\s*silent after \d+ ms", self.shown)
        cut = next(mark["time"] for mark in self.marks if mark["kind"] == "cut")
        asked, *_ = runs(self.levels["user"])
        spoken = [(begin, end) for begin, end in runs(self.levels["agent"]) if begin < cut]
        assert sum(end - begin for begin, end in spoken) > 1, "the answer is heard"
        assert max(filter(None, self.levels["agent"])) > 0.05
        assert asked[1] < spoken[0][0], "after the question"
        assert spoken[-1][1] < cut + silent_within, "and then silent"
        assert self.figures["turns"][0] > 0
        assert self.figures["reactions"][0] > 0


@pytest.mark.slow
@WAYS
def test_a_question_an_answer_and_a_barge_in(way: str) -> None:
    """Heard by the server, answered in sound that arrives, and silent within 200 ms of the interrupt."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with (
            serve_listening(port=0, brains=[choice()]) as server,
            page_of(server, script=MICROPHONE) as page,
        ):
            await use(page, way)
            await page.click("#talk")
            await listens(server)
            await say(page, "weather")
            await true(page, "bargein.conversation.lines.some(({ heard }) => heard.startsWith('It is sunny in'))")
            await say(page, "repeat")
            call = await Call.of(page)
            SHOTS.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=SHOTS / f"{way}.png")
            (live,) = server.sessions.live.values()
            assert live.session.epoch >= 1
            await page.click("#talk")  # hang up
            await true(page, "bargein.state === 'off'")
            await gone(server)
        call.check(silent_within=0.2)

    run(main)


@pytest.mark.skipif(not EXTENDED, reason="it takes as long as the recording; BARGEIN_EXTENDED=1 runs it")
@WAYS
def test_a_real_microphone(way: str, recording: Path) -> None:
    """The same through the browser's echo cancellation and noise suppression."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")

    async def main() -> None:
        async with (
            serve_listening(port=0, brains=[choice()]) as server,
            page_of(server, allowed=True, microphone=recording) as page,
        ):
            await use(page, way)
            await page.click("#talk")
            (await Call.of(page)).check(silent_within=0.2)

    run(main)


OLD_BROWSER = """
  delete window.RTCPeerConnection;
  delete BaseAudioContext.prototype.audioWorklet;
  delete HTMLDialogElement.prototype.showModal;
  delete HTMLMediaElement.prototype.setSinkId;
  Object.defineProperty(window, "localStorage", { get() { throw new Error("not allowed"); } });
"""


@pytest.mark.slow
def test_an_old_browser() -> None:
    """Without WebRTC, sound thread, dialogs, choice of speakers and storage: one speaks, hears and interrupts."""

    async def main() -> None:
        async with (
            serve_listening(port=0, brains=[choice()]) as server,
            page_of(server, script=MICROPHONE + OLD_BROWSER) as page,
        ):
            assert await page.evaluate("[...document.querySelectorAll('#transport option')].length") == 1
            await page.click("#talk")
            await listens(server)
            await say(page, "weather")
            await true(page, "bargein.conversation.lines.some(({ heard }) => heard.startsWith('It is sunny in'))")
            await say(page, "repeat")
            (await Call.of(page)).check(silent_within=0.3)

    run(main)


@WAYS
def test_a_microphone_can_be_used_later(way: str) -> None:
    """A call that began in writing goes on in speech, without a new connection."""
    if way == "webrtc":
        pytest.importorskip("aiortc", reason="the extra 'webrtc' is not installed")
    loudest = [0]

    class Ears(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            loudest[0] = max(loudest[0], int(np.abs(frame.samples).max(initial=0)))
            yield frame

    def hearing(peer: Transport) -> Pipeline:
        return Pipeline(peer.source, Ears(), brain(), Spoken(), peer.sink)

    async def main() -> None:
        async with serve_page(hearing, port=0, brains=[choice()]) as server, page_of(server, allowed=True) as page:
            await use(page, way)
            await page.click("#suggestions button")
            await in_call(page)
            assert not loudest[0]
            assert await page.inner_text("#mute-label") == "Use microphone"
            (name,) = server.sessions.live
            await page.click("#mute")
            await true(page, "document.querySelector('#mute-label').textContent === 'Mute'")
            with anyio.fail_after(60):
                while loudest[0] < 1000:  # noqa: ASYNC110  # no event says so
                    await anyio.sleep(0.05)
            assert list(server.sessions.live) == [name]
            await page.evaluate("bargein.page.call.media.stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
            await true(page, "document.querySelector('#mute-label').textContent === 'Use microphone'")
            assert "disconnected" in await page.inner_text("#notes")

    run(main)


def test_mute_says_what_it_does() -> None:
    """The label of the button is its next effect, and the microphone gives silence meanwhile."""
    muted = "bargein.page.call.media.stream.getAudioTracks().every((track) => !track.enabled)"

    async def main() -> None:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server, allowed=True) as page:
            await page.click("#talk")
            await in_call(page)
            assert await page.inner_text("#mute-label") == "Mute"
            await page.keyboard.press("m")
            assert await page.inner_text("#mute-label") == "Unmute"
            assert await page.evaluate(muted)
            await true(page, "bargein.state === 'muted'")
            await page.keyboard.press("m")
            assert not await page.evaluate(muted)

    run(main)


def test_push_to_talk() -> None:
    """The microphone is open while the button or the space bar is held; the release commits the turn."""
    opened = "bargein.page.call.media.stream.getAudioTracks()[0].enabled"
    commits: list[Commit] = []

    class Watch(Processor):
        def process(self, frame: Commit) -> Iterator[Commit]:
            commits.append(frame)
            yield frame

    def watched(peer: Transport) -> Pipeline:
        return Pipeline(peer.source, Watch(), brain(), Spoken(), peer.sink)

    async def main() -> None:
        async with serve_page(watched, port=0, brains=[choice()]) as server, page_of(server, allowed=True) as page:
            await page.click("#settings-button")
            await page.check("#push")
            await page.click("#settings-close")
            await page.click("#talk")
            await page.wait_for_selector("#hold:not([disabled])", timeout=60_000)
            assert not await page.evaluate(opened)
            await page.keyboard.down(" ")
            await true(page, opened)
            await page.keyboard.up(" ")
            await true(page, f"!{opened}")
            await page.hover("#hold")
            await page.mouse.down()
            await true(page, opened)
            await page.mouse.up()
            await true(page, f"!{opened}")
            await page.focus("#text")
            await page.keyboard.press(" ")
            assert not await page.evaluate(opened), "a space that is typed is a space"
            assert await page.input_value("#text") == " "
            with anyio.fail_after(60):
                while len(commits) < 2:  # noqa: ASYNC110  # no event says so
                    await anyio.sleep(0.05)
            assert await page.evaluate("bargein.page.call !== null"), "and no button was pressed by the space bar"
            await page.click("#talk")
            await gone(server)
        assert len(commits) == 2

    run(main)
