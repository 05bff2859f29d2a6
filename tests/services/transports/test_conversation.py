"""A spoken question is answered over each protocol, by the cascade that needs neither key nor network."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np
import pytest

from bargein.pipeline import Audio, Frame, Interrupt, Pipeline, ToolCall, Transcript
from bargein.processors import BargeInLatency, Resample, Spoken, TurnLatency
from bargein.services.cascade import Cascade
from bargein.services.providers.espeak import ESpeak
from bargein.services.providers.openai import OpenAIRealtime, serve_socket
from bargein.services.sockets import Endpoint, Socket, pipe
from bargein.services.transports import (
    FileTransport,
    Sessions,
    Transport,
    WebSocketClient,
)
from tests.speech import FOLDER, utterances

from .kit import connected

pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")
pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, Cascade.offline(tts=ESpeak()), Spoken(), peer.sink)


def audible(frames: list[Frame]) -> bool:
    sound = [frame.samples for frame in frames if isinstance(frame, Audio)]
    return bool(sound) and int(np.abs(np.concatenate(sound).astype(np.int32)).max()) > 3000


@pytest.mark.timeout(120)
@pytest.mark.virtual
async def test_by_files(tmp_path: Path) -> None:
    """The question is a file, and so is the answer, to its last word."""
    out = tmp_path / "answer.wav"
    peer = FileTransport(FOLDER / "weather.wav", out)
    graph = agent(peer)
    async with graph.session() as session:
        frames = [frame async for frame in session]
    assert peer.left is not None
    assert peer.left.reason == "it has been answered"
    (call,) = [frame for frame in frames if isinstance(frame, ToolCall)]
    assert call.name == "weather"
    said = [frame.text for frame in frames if isinstance(frame, Transcript) and frame.speaker == "agent"]
    assert "Paris" in said[-1]
    with wave.open(str(out)) as file:
        seconds = file.getnframes() / file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert seconds > 1
    assert np.abs(samples.astype(np.int32)).max() > 3000


@pytest.mark.timeout(120)
@pytest.mark.virtual
async def test_by_the_protocol_of_openai(tmp_path: Path) -> None:
    """The same brain behind a server, and its client between the same file and its answer."""
    out = tmp_path / "answer.wav"
    said: list[str] = []
    async with anyio.create_task_group() as servers:

        @asynccontextmanager
        async def connect(endpoint: Endpoint) -> AsyncIterator[Socket]:
            ours, theirs = pipe()
            servers.start_soon(serve_socket, theirs, lambda: Cascade.offline(tts=ESpeak()))
            try:
                yield ours
            finally:
                await ours.close()

        model = OpenAIRealtime(api_key="any", connect=connect)
        peer = FileTransport(FOLDER / "weather.wav", out)
        graph = Pipeline(peer.source, Resample(24_000, channels=1), model, Spoken(), peer.sink)
        async with graph.session() as session:
            async for frame in session:
                if isinstance(frame, Transcript) and frame.speaker == "agent":
                    said.append(frame.text)
        assert peer.left is not None
        assert peer.left.reason == "it has been answered"
    assert "Paris" in said[-1]
    with wave.open(str(out)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert len(samples) / file.getframerate() > 1
    assert np.abs(samples.astype(np.int32)).max() > 3000


@pytest.mark.timeout(120)
@pytest.mark.virtual
async def test_by_websocket() -> None:
    """It is heard, looked up and answered; speech over the answer silences it, and no more of it comes."""
    frames: list[Frame] = []
    answered = anyio.Event()

    async def listen(client: WebSocketClient) -> None:
        """Until the last that must come: how long it took until the agent was silent."""
        async for frame in client:
            frames.append(frame)
            if isinstance(frame, BargeInLatency):
                answered.set()

    async with connected(Sessions(agent)) as client, anyio.create_task_group() as group:
        group.start_soon(listen, client)
        await client.speak(utterances()["weather"].samples, 16_000)
        while not audible(frames):
            await client.speak(np.zeros(3200, np.int16), 16_000)
        await client.speak(utterances()["wait"].samples, 16_000)
        await client.speak(np.zeros(16_000, np.int16), 16_000)
        await answered.wait()
        group.cancel_scope.cancel()
    assert any(isinstance(frame, ToolCall) and frame.name == "weather" for frame in frames)
    assert any(isinstance(frame, TurnLatency) for frame in frames)
    flush = next(at for at, frame in enumerate(frames) if isinstance(frame, Interrupt))
    assert audible(frames[:flush])
    number = frames[flush].epoch
    assert all(frame.epoch >= number for frame in frames[flush:] if isinstance(frame, Audio))


@pytest.mark.slow
@pytest.mark.parametrize("channels", [2, 4, 8])
@pytest.mark.virtual
async def test_a_microphone_with_many_channels_is_understood(channels: int) -> None:
    """They are mixed down; the session does not fail at the first sound."""
    utterance = utterances()["weather"]
    samples = np.repeat(utterance.samples.reshape(-1, 1), channels, axis=1)
    sessions = Sessions(agent)
    async with connected(sessions) as client:
        await client.speak(np.concatenate((samples, np.zeros((16_000, channels), np.int16))), 16_000)
        async for frame in client:
            if isinstance(frame, Transcript) and frame.final and frame.speaker == "user":
                assert "paris" in frame.text.lower()
                break
    assert sessions.statistics().failed == 0
