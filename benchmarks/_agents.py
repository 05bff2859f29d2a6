"""The agents whose transports are measured."""

from __future__ import annotations

from collections.abc import Iterator

import anyio

from bargein.pipeline import Audio, Outlet, Processor, ResponseEnded, ResponseStarted, UserText
from bargein.pipeline.testing import framed, speech_like
from bargein.services.transports import PeerJoined

__all__ = ["Echo", "Talks"]

Reply = ResponseStarted | Audio | ResponseEnded
PIECE_MS = 100
TURN_SECONDS = 2


class Echo(Processor):
    """Says what it hears."""

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield Audio(samples=frame.samples, rate=frame.rate, pts=frame.pts, response_id="r")


class Talks(Processor):
    """Hears the sound, and speaks for that share of the time; and on request, for the given number of tenths of a
    second."""

    def __init__(self, share: float, *, rate: int, asked: int) -> None:
        self.share = share
        self.rate = rate
        self.asked = asked
        self.speech = [frame.samples for frame in framed(speech_like(4000, rate=rate), ms=PIECE_MS, rate=rate)]

    async def process(self, frame: PeerJoined | Audio | UserText, out: Outlet[Reply]) -> None:
        if isinstance(frame, PeerJoined) and self.share:
            out.respond(self.talk)
        elif isinstance(frame, UserText):
            out.respond(self.say, self.asked)

    async def talk(self, reply: Outlet[Reply]) -> None:
        while True:
            await self.say(reply, round(1000 * TURN_SECONDS * self.share / PIECE_MS))
            await anyio.sleep(TURN_SECONDS)

    async def say(self, reply: Outlet[Reply], pieces: int) -> None:
        await reply.send(ResponseStarted(response_id="r"))
        for samples in self.speech[:pieces]:
            await reply.send(Audio(samples=samples, rate=self.rate, response_id="r"))
        await reply.send(ResponseEnded(response_id="r"))
