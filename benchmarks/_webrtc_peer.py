"""Peers for `webrtc.py`, in their own process: they speak without end, and say when they were answered.

Lines of JSON on the standard streams. First a number of peers comes in, then for each of them an offer goes out and its
answer comes in. A number then lets the first of them interrupt so often; the milliseconds until silence go out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import anyio
import anyio.to_thread
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from bargein.pipeline.testing import speech_like
from bargein.services.media.intake import intercept
from bargein.services.media.voice_sender import SILENCE, Encoder

STEP = 960


def spoken() -> list[bytes]:
    """Four seconds of something like speech, as Opus."""
    encoder, samples = Encoder(48_000), speech_like(4000, rate=48_000)
    return [encoder.encode(samples[at : at + STEP]) for at in range(0, len(samples), STEP)]


class Voice(MediaStreamTrack):
    """Says the same over and over, at no cost."""

    kind = "audio"

    def __init__(self, packets: list[bytes]) -> None:
        super().__init__()
        self._packets = packets
        self._began = anyio.current_time()
        self._count = 0

    async def recv(self) -> av.Packet[Any]:
        await anyio.sleep(max(0.0, self._began + self._count * 0.02 - anyio.current_time()))
        packet = av.Packet(self._packets[self._count % len(self._packets)])
        packet.pts, packet.time_base = self._count * STEP, Fraction(1, 48_000)
        self._count += 1
        return packet


class Peer:
    """One of them. It does not decode what it hears."""

    def __init__(self, packets: list[bytes]) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTrack(Voice(packets))
        self.channel = self.pc.createDataChannel("bargein")
        self.loud = self.silent = 0.0  # when that was heard last
        intercept(self.pc.getReceivers()[0], self.packet)

    def packet(self, number: int, timestamp: int, data: bytes) -> None:
        if data == SILENCE:
            self.silent = anyio.current_time()
        else:
            self.loud = anyio.current_time()

    async def join(self) -> None:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        say(self.pc.localDescription.sdp)
        await self.pc.setRemoteDescription(RTCSessionDescription(await heard(), "answer"))

    async def reaction(self) -> float:
        """Milliseconds from the wish to interrupt to silence."""
        await self._until(lambda: self.channel.readyState == "open")
        self.channel.send('{"type": "text", "text": "?"}')
        asked = anyio.current_time()
        await self._until(lambda: self.loud > asked)
        await anyio.sleep(0.3)
        at = anyio.current_time()
        self.channel.send('{"type": "interrupt"}')
        await self._until(lambda: self.silent > at)
        return 1000 * (max(self.loud, at) + 0.02 - at)  # the last packet sounds for 20 ms

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():  # noqa: ASYNC110  # the library has no event
            await anyio.sleep(0.001)


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


async def heard() -> Any:
    return json.loads(await anyio.to_thread.run_sync(sys.stdin.readline) or "null")


async def main() -> None:
    packets = spoken()
    peers = [Peer(packets) for _ in range(await heard())]
    for peer in peers:
        await peer.join()
    while times := await heard():
        say([await peers[0].reaction() for _ in range(times)])
    for peer in peers:
        await peer.pc.close()


anyio.run(main)
