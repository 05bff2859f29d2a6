"""The other end of `realtime.py`: a scripted server of the OpenAI Realtime protocol, in a process of its own.

It reads nothing but the type of a message. To a `response.create` it gives `SECONDS` of sound in deltas of 100 ms, with
a word for every other: one delta for every five pieces of the user's 20 ms, so that both sides speak equally long at
any speed; or, for the model `emit_limit_error`, as fast as they are read, until `response.cancel`. Prints its port, and
ends with its standard input.
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
"""So many pieces of the user's sound are as long as a delta."""

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
        self.emit_limit_error = "model=flood" in connection.request.path
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
                self.name, self.left = f"r{self.count}", SECONDS * 10 * (10 if self.emit_limit_error else 1)
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
            while self.left and (self.emit_limit_error or self.heard >= PIECES):
                self.heard -= PIECES
                self.left -= 1
                of, last = OF % (self.name, self.name), not self.left
                await self.connection.send(SOUND % of)
                if self.left % 2:
                    await self.connection.send(WORD % (of, "word"))
                if last:
                    await self.connection.send(SAID % of)
                    await self.connection.send(DONE % (self.name, "completed"))
                elif self.emit_limit_error:
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
