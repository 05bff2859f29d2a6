"""The peer connection of a call as a socket. Imports aiortc.

It uses aiortc's public interface. The one private attribute that calls need, the receiver's jitter buffer, is replaced
by `bargein.services.media.intake`, which names the versions and fails with a clear message where it is gone.
"""

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
from bargein.services.media.tracks import PictureTrack, VoiceTrack
from bargein.services.media.voice_receiver import VoiceReceiver
from bargein.services.media.voice_sender import VoiceSender
from bargein.services.sockets import SocketClosedError

from ._call_wire import SOUND_STARTS_SECONDS, CallPicture, CallWire

__all__ = ["CallSocket"]

CHANNEL = "oai-events"
RATE = 24_000
"""Samples per second (Hz) of the model's sound, both ways."""
MAX_WAITING = 10_000
"""Messages that may wait for the reader before the call is given up."""
MAX_BUFFERED_BYTES = 1 << 20
"""Bytes that may wait in the data channel before `send` waits."""
TAIL_SECONDS = 0.12
"""How long after the message that a response's sound has ended its last sound may arrive."""
SEND_SECONDS = 5.0
"""Longest time that a commit waits until the sound before it has been sent."""
ARRIVE_SECONDS = 0.1
"""How long the last of that sound may take to arrive: the channel is faster than the track."""


class CallSocket:
    """A call: messages on its data channel, sound and pictures on its tracks.

    Args:
        tasks: Runs what has to wait.
        servers: ICE servers: URL, user name and password.
        video: Send pictures on a video track.
    """

    def __init__(
        self, tasks: anyio.abc.TaskGroup, servers: Iterable[tuple[str, str, str]] = (), *, video: bool = False
    ) -> None:
        self._tasks = tasks
        self._wire = CallWire(video=video)
        self._voice, self._listening, self._resample = VoiceSender(), VoiceReceiver(), Resample(RATE)
        self._pc = RTCPeerConnection(configuration(list(servers)))
        self._track = VoiceTrack(self._voice, self._packet_sent, steady=True)
        transceiver = self._pc.addTransceiver(self._track, direction="sendrecv")
        opus = [codec for codec in RTCRtpSender.getCapabilities("audio").codecs if codec.mimeType == "audio/opus"]
        transceiver.setCodecPreferences(opus)
        intercept(transceiver.receiver, self._on_packet)
        self._picture = PictureTrack() if video else None
        if self._picture is not None:
            self._pc.addTransceiver(self._picture, direction="sendonly")
            self._decode = DecodePicture()
        self._channel: RTCDataChannel = self._pc.createDataChannel(CHANNEL)
        self._channel.on("message", self._on_message)
        self._channel.on("open", self._on_open)
        self._channel.on("close", self._on_close)
        self._pc.on("connectionstatechange", self._on_state)
        self._incoming: deque[str] = deque()
        self._changed = self._moved = anyio.Event()
        self._closed: tuple[int, str] | None = None
        self.opened = anyio.Event()
        """Set when the channel is open, or when it is certain that it never will be."""

    # Signalling -----------------------------------------------------------------------------------------------------

    async def offer(self) -> str:
        """Return the offer to post."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return str(self._pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer. Raises what aiortc raises for a wrong one."""
        await self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._closed is None and self._channel.readyState == "open"

    # As a socket ----------------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes) -> None:
        """Send a message, or sound. Raises `SocketClosedError`."""
        text = data if isinstance(data, str) else data.decode()
        if '"input_audio_buffer.commit"' in text[:200]:
            await self._flush_sound()
        for each in self._wire.send(text):
            if isinstance(each, bytes):
                if len(each) > 1:
                    self._voice.add(Audio.from_bytes(each[: len(each) & ~1], RATE))
            elif isinstance(each, CallPicture):
                self._show(each)
            else:
                self._post(each)
        while self._closed is None and self._channel.bufferedAmount > MAX_BUFFERED_BYTES:
            await self._next_packet()
        if self._closed is not None:
            raise SocketClosedError(*self._closed)

    def _show(self, picture: CallPicture) -> None:
        assert self._picture is not None, "CallWire yields pictures only with video"
        for frame in self._decode.process(Video(data=picture.data, format=picture.format)):
            if isinstance(frame, Video):
                self._picture.show(frame)

    def _post(self, text: str) -> None:
        if self._closed is None:
            try:
                self._channel.send(text)
            except InvalidStateError:
                self._end(1006, "the channel is closed")

    async def _flush_sound(self) -> None:
        """Wait until all sound so far has been sent and has had time to arrive."""
        with anyio.move_on_after(SEND_SECONDS):
            while not self._voice.silent and self._closed is None:
                await self._next_packet()
        await anyio.sleep(ARRIVE_SECONDS)

    async def _next_packet(self) -> None:
        """Wait until the next packet of sound has been sent: there is one every 20 ms."""
        self._moved = anyio.Event()
        await self._moved.wait()

    def _packet_sent(self, now: float) -> None:
        self._moved.set()

    async def receive(self) -> str | bytes:
        """Return the next message. Raises `SocketClosedError` when the call is over."""
        while not self._incoming:
            if self._closed is not None:
                raise SocketClosedError(*self._closed)
            self._changed = anyio.Event()
            await self._changed.wait()
        return self._incoming.popleft()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Hang up. Never raises; may be called again."""
        self._end(code, reason)
        with anyio.CancelScope(shield=True), anyio.move_on_after(2):
            await self._pc.close()

    # From the server ------------------------------------------------------------------------------------------------

    def _on_message(self, data: str | bytes) -> None:
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        held = self._wire.has_unplayed
        self._deliver(self._wire.receive(text, anyio.current_time()))
        for request in self._wire.requests():
            self._post(request)
        if self._wire.ending:
            self._tasks.start_soon(self._finish, self._wire.ending)
        if self._wire.has_unplayed and not held:
            self._tasks.start_soon(self._watch_held)

    async def _finish(self, response: str) -> None:
        await anyio.sleep(TAIL_SECONDS)
        if self._wire.ending == response:
            self._deliver(self._wire.end_current())

    async def _watch_held(self) -> None:
        while self._wire.has_unplayed:
            await anyio.sleep(SOUND_STARTS_SECONDS / 2)
            self._deliver(self._wire.end_soundless(anyio.current_time()))

    def _on_packet(self, number: int, timestamp: int, data: bytes) -> None:
        for audio in self._listening.packet(number, timestamp, data):
            for piece in self._resample.process(audio):
                if isinstance(piece, Audio):
                    self._deliver(self._wire.sound(piece.to_bytes()))

    def _deliver(self, messages: Iterable[str]) -> None:
        self._incoming.extend(messages)
        if len(self._incoming) > MAX_WAITING:
            self._end(1008, f"more than {MAX_WAITING} messages were not read")
        self._changed.set()

    def _on_open(self) -> None:
        self.opened.set()

    def _on_close(self) -> None:
        self._end(1006, "the channel was closed")

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self._end(1006, f"the call {'was lost' if self._pc.connectionState == 'failed' else 'was hung up'}")

    def _end(self, code: int, reason: str) -> None:
        self._closed = self._closed or (code, reason)
        self.opened.set()
        self._changed.set()
        self._moved.set()
