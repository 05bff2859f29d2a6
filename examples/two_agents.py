"""Two agents talk to each other over a WebSocket. A client is a transport, too, in the other direction.

Each agent waits until it has heard the other's sentence, and then says its next one.
"""

import anyio

from bargein import Audio, Outlet, Pipeline, Processor, connect_websocket, serve_websocket
from bargein.pipeline.testing import framed, speech_like


class Talker(Processor):
    """Says a number of sentences, each after it has heard 200 ms of the other agent."""

    def __init__(self, name: str, times: int) -> None:
        self.name, self.left, self.heard_ms = name, times, 0.0

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
                await reply.send(Audio(piece.samples, piece.rate, response_id="r"))


async def main() -> None:
    first = Talker("Ada", 2)
    async with serve_websocket(lambda peer: Pipeline(peer.source, first, peer.sink)) as server:
        async with connect_websocket(server.url) as client:
            second = Talker("Bob", 2)
            async with Pipeline(client.source, second, client.sink, inputs=Audio).session() as session:
                await client.speak(speech_like(200), 16_000)  # begins the conversation
                await anyio.sleep(1.5)
                await session.cancel()
    print("and that was that")


if __name__ == "__main__":
    anyio.run(main)
