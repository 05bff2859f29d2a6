"""WebRtcServer: two peers of aiortc on loopback."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from bargein.pipeline import (
    Audio,
    Frame,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    UserText,
    Video,
)
from bargein.processors import Latency, Resample, Vad, WebRtc
from bargein.services.transports import SessionLimits, Sessions, Transport
from bargein.services.transports.webrtc import WebRtcServer

from tests.speech import utterances

from .client import client, until

pytestmark = pytest.mark.real


class Agent(Processor):
    """Answers its first question with ten seconds of speech, and falls silent when spoken to."""

    def __init__(self) -> None:
        self.heard: list[Frame] = []
        self.speaking = False

    async def process(
        self,
        frame: SpeechStarted | SpeechStopped | UserText | Video | Played | Audio,
        out: Outlet[SpeechStarted | SpeechStopped | Interrupt | ResponseStarted | Audio | ResponseEnded],
    ) -> None:
        self.heard.append(frame)
        if isinstance(frame, SpeechStarted):
            await out.send(frame)
            await out.send(Interrupt(reason="the user spoke"))
        elif isinstance(frame, SpeechStopped):
            await out.send(frame)
        if isinstance(frame, SpeechStopped | UserText) and not self.speaking:
            self.speaking = True
            out.respond(self.answer)

    async def answer(self, reply: Outlet[ResponseStarted | Audio | ResponseEnded]) -> None:
        samples = np.tile(utterances()["long"].samples, 3)
        await reply.send(ResponseStarted(response="r"))
        for at in range(0, len(samples), 3200):
            await reply.send(Audio(samples=samples[at : at + 3200], rate=16_000, response="r"))
        await reply.send(ResponseEnded(response="r"))


class Room:
    """A server's sessions, and the agents in them."""

    def __init__(self, **limits: float) -> None:
        self.agents: list[Agent] = []
        self.sessions = Sessions(self.build, limits=SessionLimits(**limits))  # type: ignore[arg-type]

    def build(self, peer: Transport) -> Pipeline:
        self.agents.append(agent := Agent())
        return Pipeline(peer.source, Resample(16_000, channels=1), Vad(WebRtc()), agent, Latency(), peer.sink)


async def test_it_is_asked_and_answers_and_can_be_interrupted() -> None:
    """With speech that is heard on the received track, and is over within 200 ms of the interrupt."""
    room = Room()
    async with WebRtcServer(room.sessions) as server, client() as peer:
        await peer.join(server)
        await anyio.sleep(0.3)
        assert not peer.loud_since(0)
        peer.microphone.say(utterances()["time"].samples)
        await until(lambda: peer.loud_since(0))
        await anyio.sleep(1)
        peer.microphone.say(utterances()["wait"].samples)
        await until(lambda: bool(peer.of("flush")))
        at = anyio.current_time()
        await anyio.sleep(0.5)
        assert not peer.loud_since(at + 0.2)
        played = [frame for frame in room.agents[0].heard if isinstance(frame, Played)]
        assert played[-1].done
        assert 500 < played[-1].ms < 4000
        assert len(peer.of("latency")) == 1
        assert peer.of("reaction")[0]["ms"] < 1000
    assert not room.sessions.failures
