"""Agents on WebSockets: peers that do not read, networks that pause, and floods of messages."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import numpy.typing as npt
import pytest

from bargein.pipeline import Audio, Pipeline, Processor, ResponseEnded, UserText
from bargein.processors import Spoken
from bargein.services.cascade import Cascade, LanguageModel, Prompt, SpeechToText, TextToSpeech, Word
from bargein.services.transports import SessionLimits, Sessions, Transport, WebSocketClient
from tests.services.transports.kit import Brain, connected, served, until

from .server_kit import heard


@pytest.mark.virtual
async def test_a_peer_that_does_not_read_loses_the_oldest_sound_and_then_its_session() -> None:
    """Nothing piles up meanwhile."""
    transports = []

    def build(transport: Any) -> Pipeline:
        transports.append(transport)
        return Pipeline(transport.source, Brain(ms=20_000), transport.sink)

    sessions = Sessions(build, limits=SessionLimits(slow_seconds=6))
    async with served(sessions, capacity=8) as each:
        client = await WebSocketClient.begin(each.socket)
        began = anyio.current_time()
        await client.send(UserText(text="A very long story."))
        await each.over.wait()
        assert 5 < anyio.current_time() - began < 10
        assert each.ending == "left"
        (transport,) = transports
        statistics = transport.statistics()
        assert 100 < statistics.dropped < 400
        assert transport.left.reason == "it did not read a message within 6 s"
        assert len(transport._queue) <= 2  # but for last words


@pytest.mark.virtual
async def test_after_a_pause_of_the_network_the_newest_sound_comes() -> None:
    """Two seconds of it at most; the gap is seen in the sequence."""
    async with served(Sessions(lambda peer: Pipeline(peer.source, Brain(ms=8_000), peer.sink)), capacity=8) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="A story."))
        await until(client, Audio)
        await anyio.sleep(5)
        frames = await until(client, ResponseEnded)
        missing = client._wire.missing  # type: ignore[attr-defined]
        assert 100 < missing < 160
        assert heard(frames) + 20 * (missing + 1) == 8000


WORDS = [f"w{chr(97 + number)}" for number in range(20)]
WORD_MS = 500


class Counting(LanguageModel):
    async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
        yield " ".join(WORDS)


class Constant(TextToSpeech):
    """Says each word as samples of one value, by which its sound can be told."""

    rate = 16_000

    async def speak(self, text: str) -> AsyncIterator[Word | npt.NDArray[np.int16]]:
        for number, word in enumerate(text.split()):
            yield Word(text=word, start_ms=WORD_MS * number, end_ms=WORD_MS * (number + 1))
            yield np.full(WORD_MS * 16, 1000 + 100 * number, np.int16)


@pytest.mark.virtual
async def test_what_was_dropped_for_a_peer_that_does_not_read_was_not_heard() -> None:
    """Its words are not remembered, but those before and after it are."""
    brain = Cascade(SpeechToText(), Counting(), Constant())
    came: dict[int, float] = {}
    async with served(Sessions(lambda peer: Pipeline(peer.source, brain, Spoken(), peer.sink)), capacity=8) as each:
        client = await WebSocketClient.begin(each.socket)
        await client.send(UserText(text="Hello."))
        began = math.inf
        with anyio.move_on_after(25):
            async for frame in client:
                if not isinstance(frame, Audio):
                    continue
                began = min(began, anyio.current_time())
                number = (int(np.median(frame.samples)) - 1000) // 100
                came[number] = came.get(number, 0) + frame.ms
                if began + 1 < anyio.current_time() < began + 2:
                    await anyio.sleep(7)  # the network stalls
    arrived = {WORDS[number] for number, ms in came.items() if ms > WORD_MS / 2}
    assert len(arrived) < len(WORDS)
    (said,) = [entry for entry in brain.history if entry.role == "assistant"]
    assert len(set(said.remembered.split()) ^ arrived) <= 1, "but for the word that was cut"


@pytest.mark.virtual
async def test_a_flood_of_texts_is_read_evenly() -> None:
    """Ten at once, then forty a second, so that the other calls keep their time; none of them is lost."""
    brain = Brain(ms=20)
    at: list[float] = []

    class Watch(Processor):
        def process(self, frame: UserText) -> Iterator[UserText]:
            at.append(anyio.current_time())
            yield frame

    def build(peer: Transport) -> Pipeline:
        return Pipeline(peer.source, Watch(), brain, Spoken(), peer.sink)

    async with connected(Sessions(build)) as client:
        began = anyio.current_time()
        for number in range(50):
            await client.send(UserText(f"{number}"))
        await anyio.sleep(5)
    assert len(at) == 50
    assert sum(each <= began + 0.01 for each in at) <= 11
    assert at[-1] - began == pytest.approx(1.0, abs=0.1)
