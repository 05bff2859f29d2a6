"""Two agents talk to each other over a WebSocket: a client is a transport, too, the other way round.

Each hears the other's voice, waits until it is silent, and says its next sentence.
"""

import anyio

from bargein.pipeline import Audio, Outlet, Pipeline, Processor
from bargein.pipeline.testing import framed, speech_like
from bargein.services.transports import connect_websocket, serve_websocket


class Talker(Processor):
    """Says so many things, each when the other has been silent for a fifth of a second."""

    def __init__(self, name: str, times: int, *, begins: bool = False) -> None:
        self.name, self.left, self.heard_ms = name, times, 0.0
        self.turn = anyio.Event()
        if begins:
            self.turn.set()

    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        self.heard_ms += frame.ms
        if self.heard_ms >= 200:  # the other has said its sentence
            self.heard_ms = 0.0
            out.respond(self.say)

    async def say(self, reply: Outlet[Audio]) -> None:
        if self.left:
            self.left -= 1
            print(f"{self.name} speaks")
            for piece in framed(speech_like(200), response_id="r"):
                await reply.send(Audio(samples=piece.samples, rate=piece.rate, response_id="r"))


async def main() -> None:
    first = Talker("Ada", 2)
    async with serve_websocket(lambda peer: Pipeline(peer.source, first, peer.sink)) as server:
        async with connect_websocket(server.url) as client:
            second = Talker("Bob", 2)
            async with Pipeline(client.source, second, client.sink, inputs=Audio).session() as session:
                await client.speak(speech_like(200), 16_000)  # somebody has to begin
                await anyio.sleep(1.5)
                await session.cancel()
    print("and that was that")


if __name__ == "__main__":
    anyio.run(main)
