"""A peer of aiortc's own, as a browser would be: it speaks a file, and listens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import anyio
import av
import msgspec
import numpy as np
import numpy.typing as npt
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from bargein.services.transports.webrtc import WebRtcServer

Samples = npt.NDArray[np.int16]

RATE = 48_000
STEP = 960
LOUD = 300
FRAME_MS = 20
"""A sample of more is no silence."""


class Microphone(MediaStreamTrack):
    """Silence, and now and then what it is given to say, at its own rate and with its own number of channels."""

    kind = "audio"

    def __init__(self, rate: int = 16_000, channels: int = 1) -> None:
        super().__init__()
        self.rate = rate
        self.channels = channels
        self._began = anyio.current_time()
        self._at = 0
        self._says: list[Samples] = []

    def say(self, samples: Samples) -> None:
        step = self.rate // 50
        self._says += [samples[at : at + step] for at in range(0, len(samples) - step + 1, step)]

    @property
    def silent(self) -> bool:
        return not self._says

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await anyio.sleep(max(0.0, self._began + self._at / self.rate - anyio.current_time()))
        step = self.rate // 50
        samples = self._says.pop(0) if self._says else np.zeros(step * self.channels, np.int16)
        layout = "mono" if self.channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self._at, Fraction(1, self.rate)
        self._at += step
        return frame


class Camera(MediaStreamTrack):
    """Thirty pictures a second, each a little brighter."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._began = anyio.current_time()
        self._count = 0

    async def recv(self) -> av.VideoFrame:
        self._count += 1
        await anyio.sleep(max(0.0, self._began + self._count / 30 - anyio.current_time()))
        pixels = np.full((48, 64, 3), min(255, 50 + self._count), np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = self._count * 3000, Fraction(1, 90_000)
        return frame


class Client:
    """What it hears, sees and reads, with the time."""

    def __init__(
        self,
        *,
        audio: bool = True,
        camera: bool = False,
        channel: bool = True,
        microphone: Microphone | None = None,
    ) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = microphone or Microphone()
        if audio:
            self.pc.addTrack(self.microphone)
        if camera:
            self.pc.addTrack(Camera())
        self.channel: RTCDataChannel | None = None
        self.messages: list[dict[str, Any]] = []
        self.sound: list[tuple[float, int]] = []
        self.pictures: list[Any] = []
        self.name = ""
        self._tasks: anyio.abc.TaskGroup | None = None
        self.pc.on("track", self._on_track)
        if channel:
            self.channel = self.pc.createDataChannel("bargein")
            self.channel.on("message", lambda data: self.messages.append(msgspec.json.decode(data)))

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def accept(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def join(self, server: WebRtcServer, **options: Any) -> None:
        """Offer, accept the answer, and wait until it is connected."""
        answer = await server.offer(await self.offer(), name=self.name, **options)
        self.name = answer.name
        await self.accept(answer.sdp)
        await until(lambda: self.pc.connectionState == "connected")
        if self.channel is not None:
            await until(lambda: bool(self.messages))

    def send(self, message: str | bytes) -> None:
        assert self.channel is not None
        self.channel.send(message)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    def loud_since(self, at: float) -> bool:
        """Whether anything was heard after that time."""
        return any(when >= at and peak > LOUD for when, peak in self.sound)

    def loud_ms_since(self, at: float) -> int:
        """How much was heard after that time: counted in sound, since a busy machine hears late."""
        return FRAME_MS * sum(when >= at and peak > LOUD for when, peak in self.sound)

    @property
    def ice(self) -> RTCIceTransport:
        """The way that all its packets go."""
        return self.pc.getSenders()[0].transport.transport

    def vanish(self) -> None:
        """From now on nothing comes of it, as if its battery were empty."""

        async def nothing(data: bytes) -> None:
            pass

        self.ice._send = nothing
        for protocol in self.ice._connection._protocols:
            protocol.transport.abort()

    def disturb(self) -> None:
        """Of what it sends, every eighth packet of sound is lost, and every fifth comes two packets late."""
        send, late, count = self.ice._send, list[tuple[int, bytes]](), 0

        async def disturbed(data: bytes) -> None:
            nonlocal count
            if not 127 < data[0] < 192:
                await send(data)
                return
            count += 1
            if count % 8 and count % 5:
                await send(data)
            elif count % 5 == 0:
                late.append((count + 2, data))
            while late and late[0][0] <= count:
                await send(late.pop(0)[1])

        self.ice._send = disturbed

    def _on_track(self, track: MediaStreamTrack) -> None:
        assert self._tasks is not None
        self._tasks.start_soon(self._listen if track.kind == "audio" else self._watch, track)

    async def _listen(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            self.sound.append((anyio.current_time(), int(np.abs(frame.to_ndarray().astype(np.int32)).max())))

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                self.pictures.append(await track.recv())
            except MediaStreamError:
                return


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[Client]:
    """A peer that hangs up at the end."""
    async with anyio.create_task_group() as tasks:
        peer = Client(**options)
        peer._tasks = tasks
        try:
            yield peer
        finally:
            with anyio.CancelScope(shield=True):
                await peer.pc.close()
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], bool], within_seconds: float = 60.0) -> None:
    """Wait for something that the network will bring."""
    with anyio.fail_after(within_seconds):
        while not true():  # noqa: ASYNC110  # it is in a library, and has no event
            await anyio.sleep(0.005)
