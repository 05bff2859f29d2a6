"""An agent on a WebSocket, and a client that talks to it.

The client asks, gets text and audio in real time, and interrupts. Nothing of the old answer arrives after the flush.
docs/guides/transports.md describes the messages, for clients in other languages.
"""

import anyio

from bargein import (
    Audio,
    Interrupt,
    Pipeline,
    Spoken,
    Transcript,
    Transport,
    UserText,
    connect_websocket,
    serve_websocket,
)
from bargein.services.testing import ScriptedBrain


def agent(peer: Transport) -> Pipeline:
    brain = ScriptedBrain("Once upon a time there was a king who had three sons.", "Very well.")
    return Pipeline(peer.source, brain, Spoken(), peer.sink)


async def main() -> None:
    async with serve_websocket(agent, authorize=lambda token: token == "open sesame") as server:
        async with connect_websocket(server.url, token="open sesame") as client:
            await client.send(UserText("Tell me a story."))
            heard, stale, epoch, words = 0.0, 0, 0, ""
            async for frame in client:
                if isinstance(frame, Transcript) and frame.speaker == "agent":
                    words = frame.text
                elif isinstance(frame, Interrupt):
                    print(f"heard {heard:.0f} ms: {words!r}; flushed: {frame.reason}")
                    epoch = frame.epoch
                    break
                elif isinstance(frame, Audio):
                    heard += frame.ms
                    if heard == 500:
                        await client.send(Interrupt("the user had enough"))
            await client.send(UserText("That will do."))
            async for frame in client:
                if isinstance(frame, Audio):
                    stale += frame.epoch < epoch
                elif isinstance(frame, Transcript) and frame.final and frame.text != words:
                    print("then:", frame.text)
                    break
        await server.sessions.drain()
    print(f"{stale} pieces of the old answer came after the flush")


if __name__ == "__main__":
    anyio.run(main)  # or with backend="trio"
