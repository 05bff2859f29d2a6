"""The server of the benchmark `realtime.py`: a script of the OpenAI Realtime protocol, in its own process.

It reads only the type of a message. For each `response.create` it sends `SECONDS` of audio in deltas of 100 ms, every
other one with a word. It sends one delta for every five pieces of 20 ms from the user, so that both sides speak
equally long at any speed. For the model `flood`, it sends deltas as fast as they are read until `response.cancel`. It
prints its port, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import base64
import sys

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

SECONDS = 5
DELTA = 2400
"""Samples of 24 kHz in a delta."""
PIECES = 5
"""Number of pieces of the user's sound that are as long as a delta."""

UPDATED = '{"type":"session.updated","session":{"id":"s","audio":{"input":{"turn_detection":null}}}}'
CREATED = '{"type":"response.created","response":{"id":"%s","status":"in_progress"}}'
DONE = '{"type":"response.done","response":{"id":"%s","status":"%s"}}'
OF = '"event_id":"e","response_id":"%s","item_id":"i%s","output_index":0,"content_index":0'
NOISE = np.random.default_rng(1).normal(0, 3000, DELTA).astype("<i2").tobytes()
SOUND = '{"type":"response.output_audio.delta",%s,"delta":"' + base64.b64encode(NOISE).decode() + '"}'
WORD = '{"type":"response.output_audio_transcript.delta",%s,"delta":"%s "}'
SAID = '{"type":"response.output_audio_transcript.done",%s,"transcript":""}'


class Peer:
    """One connection."""

    def __init__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.connection = connection
        self.floods = "model=flood" in connection.request.path
        self.heard = 0  # pieces of the user's sound that no delta was given for
        self.count = 0
        self.name = ""
        self.left = 0  # deltas of the present response
        self.changed = asyncio.Event()

    async def listen(self) -> None:
        while True:
            kind = (await self.connection.recv(decode=False))[9:50].split(b'"', 1)[0]
            if kind == b"input_audio_buffer.append":
                self.heard += 1
            elif kind == b"response.create":
                self.count += 1
                self.name, self.left = f"r{self.count}", SECONDS * 10 * (10 if self.floods else 1)
                await self.connection.send(CREATED % self.name)
            elif kind == b"response.cancel" and self.left:
                self.left = 0
                await self.connection.send(DONE % (self.name, "cancelled"))
            elif kind == b"session.update":
                await self.connection.send(UPDATED)
            self.changed.set()

    async def speak(self) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            while self.left and (self.floods or self.heard >= PIECES):
                self.heard -= PIECES
                self.left -= 1
                of, last = OF % (self.name, self.name), not self.left
                await self.connection.send(SOUND % of)
                if self.left % 2:
                    await self.connection.send(WORD % (of, "word"))
                if last:
                    await self.connection.send(SAID % of)
                    await self.connection.send(DONE % (self.name, "completed"))
                elif self.floods:
                    await asyncio.sleep(0)


async def handle(connection: ServerConnection) -> None:
    peer = Peer(connection)
    speaking = asyncio.create_task(peer.speak())
    try:
        await peer.listen()
    except ConnectionClosed:
        pass
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def main() -> None:
    async with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
