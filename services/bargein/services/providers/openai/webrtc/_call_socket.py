"""The peer connection of a call, as a socket. Imports aiortc."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import anyio
import anyio.abc
from aiortc import RTCDataChannel, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InvalidStateError

from bargein.pipeline import Audio, Video
from bargein.processors import DecodePicture, Resample
from bargein.services.media.ice import configuration
from bargein.services.media.intake import intercept
from bargein.services.media.listening import Listening
from bargein.services.media.tracks import PictureTrack, VoiceTrack
from bargein.services.media.voice import VoiceSender
from bargein.services.sockets import SocketClosedError

from ._call_wire import SOUNDS_SECONDS, CallPicture, CallWire

__all__ = ["CallSocket"]

CHANNEL = "oai-events"
RATE = 24_000
"""What the driver hears and speaks, in Hz."""
WAITING = 10_000
"""How many messages may wait for the driver, which reads them as they come."""
ROOM = 1 << 20
"""Bytes that may wait for the channel."""
TAIL_SECONDS = 0.12
"""How long after the news that a response has sounded the last of its sound may come."""
SENT_SECONDS = 5.0
"""How long a commit waits, at most, until all sound before it has been sent."""
ARRIVES_SECONDS = 0.1
"""And how long the last of it may take to arrive: the channel is faster than the sound."""


class CallSocket:
    """Messages on the data channel, sound on the tracks."""

    def __init__(
        self, tasks: anyio.abc.TaskGroup, servers: Iterable[tuple[str, str, str]] = (), *, video: bool = False
    ) -> None:
        self._tasks = tasks
        self._wire = CallWire(video=video)
        self._voice, self._listening, self._resample = VoiceSender(), Listening(), Resample(RATE)
        self._pc = RTCPeerConnection(configuration(list(servers)))
        self._track = VoiceTrack(self._voice, self._pulled, steady=True)
        transceiver = self._pc.addTransceiver(self._track, direction="sendrecv")
        opus = [codec for codec in RTCRtpSender.getCapabilities("audio").codecs if codec.mimeType == "audio/opus"]
        transceiver.setCodecPreferences(opus)
        intercept(transceiver.receiver, self._packet)
        self._picture = PictureTrack() if video else None
        if self._picture is not None:
            self._pc.addTransceiver(self._picture, direction="sendonly")
            self._decode = DecodePicture()
        self._channel: RTCDataChannel = self._pc.createDataChannel(CHANNEL)
        self._channel.on("message", self._message)
        self._channel.on("open", self._open)
        self._channel.on("close", self._gone)
        self._pc.on("connectionstatechange", self._state)
        self._came: deque[str] = deque()
        self._changed = self._moved = anyio.Event()
        self._closed: tuple[int, str] | None = None
        self.opened = anyio.Event()
        """The channel is open, or will never be."""

    # Signalling -----------------------------------------------------------------------------------------------------

    async def offer(self) -> str:
        """The offer to post."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return str(self._pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """The answer that was given. Raises whatever aiortc does for one that is wrong."""
        await self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    @property
    def open(self) -> bool:
        """Messages can be sent."""
        return self._closed is None and self._channel.readyState == "open"

    # As a socket ----------------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes) -> None:
        """Send a message, or sound. Raises `SocketClosedError`."""
        text = data if isinstance(data, str) else data.decode()
        if '"input_audio_buffer.commit"' in text[:200]:
            await self._sent()
        for each in self._wire.send(text):
            if isinstance(each, bytes):
                if len(each) > 1:
                    self._voice.add(Audio.from_bytes(each[: len(each) & ~1], RATE))
            elif isinstance(each, CallPicture):
                self._show(each)
            else:
                self._post(each)
        while self._closed is None and self._channel.bufferedAmount > ROOM:
            await self._moves()
        if self._closed is not None:
            raise SocketClosedError(*self._closed)

    def _show(self, picture: CallPicture) -> None:
        assert self._picture is not None, "pictures are asked for with video only"
        for frame in self._decode.process(Video(data=picture.data, format=picture.format)):
            if isinstance(frame, Video):
                self._picture.show(frame)

    def _post(self, text: str) -> None:
        if self._closed is None:
            try:
                self._channel.send(text)
            except InvalidStateError:
                self._end(1006, "the channel is closed")

    async def _sent(self) -> None:
        """All sound so far is on its way, and has had time to arrive."""
        with anyio.move_on_after(SENT_SECONDS):
            while not self._voice.silent and self._closed is None:
                await self._moves()
        await anyio.sleep(ARRIVES_SECONDS)

    async def _moves(self) -> None:
        """Something has been sent, which is so every 20 ms."""
        self._moved = anyio.Event()
        await self._moved.wait()

    def _pulled(self, now: float) -> None:
        self._moved.set()

    async def receive(self) -> str | bytes:
        """The next message. Raises `SocketClosedError` when nothing more will come."""
        while not self._came:
            if self._closed is not None:
                raise SocketClosedError(*self._closed)
            self._changed = anyio.Event()
            await self._changed.wait()
        return self._came.popleft()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Hang up. Never raises; may be called again."""
        self._end(code, reason)
        with anyio.CancelScope(shield=True), anyio.move_on_after(2):
            await self._pc.close()

    # What comes -----------------------------------------------------------------------------------------------------

    def _message(self, data: str | bytes) -> None:
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        held = self._wire.held
        self._give(self._wire.receive(text, anyio.current_time()))
        if self._wire.ending:
            self._tasks.start_soon(self._finish, self._wire.ending)
        if self._wire.held and not held:
            self._tasks.start_soon(self._look)

    async def _finish(self, response: str) -> None:
        await anyio.sleep(TAIL_SECONDS)
        if self._wire.ending == response:
            self._give(self._wire.ended())

    async def _look(self) -> None:
        while self._wire.held:
            await anyio.sleep(SOUNDS_SECONDS / 2)
            self._give(self._wire.due(anyio.current_time()))

    def _packet(self, number: int, timestamp: int, data: bytes) -> None:
        for audio in self._listening.packet(number, timestamp, data):
            for piece in self._resample.process(audio):
                if isinstance(piece, Audio):
                    self._give(self._wire.sound(piece.to_bytes()))

    def _give(self, messages: Iterable[str]) -> None:
        self._came.extend(messages)
        if len(self._came) > WAITING:
            self._end(1008, f"more than {WAITING} messages were not read")
        self._changed.set()

    def _open(self) -> None:
        self.opened.set()

    def _gone(self) -> None:
        self._end(1006, "the channel was closed")

    def _state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self._end(1006, f"the call {'was lost' if self._pc.connectionState == 'failed' else 'was hung up'}")

    def _end(self, code: int, reason: str) -> None:
        self._closed = self._closed or (code, reason)
        self.opened.set()
        self._changed.set()
        self._moved.set()
