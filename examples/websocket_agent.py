"""An agent on a WebSocket, and a program that talks to it. With `drain_on_signal` it ends without a broken word.

The client asks, is answered in words and sound at the pace of speech, and interrupts; nothing of the old answer comes
after the flush. A page in its place needs what docs/transports.md says about the wire.
"""

import anyio

from bargein.pipeline import Audio, Interrupt, Pipeline, Transcript, UserText
from bargein.processors import Spoken
from bargein.services.testing import ScriptedBrain
from bargein.services.transports import Transport, connect_websocket, serve_websocket


def agent(peer: Transport) -> Pipeline:
    brain = ScriptedBrain("Once upon a time there was a king who had three sons.", "Very well.")
    return Pipeline(peer.source, brain, Spoken(), peer.sink)


async def main() -> None:
    async with serve_websocket(agent, authorize=lambda token: token == "open sesame") as server:
        async with connect_websocket(server.url, token="open sesame") as client:
            await client.send(UserText(text="Tell me a story."))
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
                        await client.send(Interrupt(reason="the user had enough"))
            await client.send(UserText(text="That will do."))
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
