"""One peer connection of aiortc, and what of it concerns a transport. Imports aiortc."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.abc
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from aiortc.sdp import SessionDescription, candidate_from_sdp
from bargein.pipeline import Video

from .. import control
from ._listening import RATE
from ._tracks import PictureTrack, VoiceTrack
from .transport import BEHIND_BYTES, WebRtcTransport

__all__ = ["Connection", "SessionDescription", "configuration"]

log = logging.getLogger("bargein.webrtc")

SECOND = 1_000_000_000


def configuration(servers: Sequence[tuple[str, str, str]]) -> RTCConfiguration:
    """Of the addresses, users and passwords of ICE servers; none of them means none, and not aiortc's default."""
    return RTCConfiguration(iceServers=[RTCIceServer(url, user or None, word or None) for url, user, word in servers])


class _Intake(JitterBuffer):
    """Stands for the jitter buffer of one audio receiver, and hands its packets on as they come.

    aiortc has no other place where encoded packets can be had. Its own buffer holds back 80 ms, and 300 ms for the
    rest of a call in which one packet was lost; and its decoder's thread costs more than the decoding.
    """

    def __init__(self, transport: WebRtcTransport) -> None:
        super().__init__(capacity=1)
        self._transport = transport

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """A packet of the peer's voice."""
        self._transport.packet(packet.sequence_number, packet.timestamp, bytes(packet.payload))
        return False, None


def _tap(receiver: RTCRtpReceiver, transport: WebRtcTransport) -> None:
    name = "_RTCRtpReceiver__jitter_buffer"
    if not hasattr(receiver, name):
        raise RuntimeError("this version of aiortc has no jitter buffer where it was; install aiortc>=1.13,<2")
    setattr(receiver, name, _Intake(transport))


class Connection:
    """A transport's `Line`: answers offers, and hands on what comes."""

    def __init__(
        self,
        transport: WebRtcTransport,
        config: RTCConfiguration,
        tasks: anyio.abc.TaskGroup,
        *,
        video_fps: float,
        show: bool,
    ) -> None:
        self._transport = transport
        self._tasks = tasks
        self._video_fps = video_fps
        self._show = show
        self._pc = RTCPeerConnection(config)
        self._channel: RTCDataChannel | None = None
        self._voice = VoiceTrack(transport.voice, transport.pulled)
        self._picture: PictureTrack | None = None
        self._tapped: set[RTCRtpReceiver] = set()
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("track", self._on_track)
        self._pc.on("connectionstatechange", self._on_state)

    # Negotiation ----------------------------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """The answer to an offer, the first or a later one. Raises whatever aiortc does for one that is wrong."""
        pc = self._pc
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in pc.getTransceivers():
            if transceiver.kind == "audio":
                self._audio(transceiver)
            else:
                self._video(transceiver)
        await pc.setLocalDescription(await pc.createAnswer())
        return str(pc.localDescription.sdp)

    def _audio(self, transceiver: Any) -> None:
        if self._tapped and transceiver.receiver not in self._tapped:
            transceiver.direction = "inactive"  # one voice is enough
            return
        if not self._tapped:
            opus = [codec for codec in RTCRtpSender.getCapabilities("audio").codecs if codec.mimeType == "audio/opus"]
            transceiver.setCodecPreferences(opus)
            self._tapped.add(transceiver.receiver)
            _tap(transceiver.receiver, self._transport)
            self._pc.addTrack(self._voice)
        wants = transceiver._offerDirection
        self._transport.deaf = wants not in ("sendrecv", "recvonly")

    def _video(self, transceiver: Any) -> None:
        if self._show and self._picture is None:
            self._picture = PictureTrack()
            self._pc.addTrack(self._picture)
        if not self._video_fps:
            transceiver.direction = "sendonly" if transceiver.sender.track is not None else "inactive"

    async def candidate(self, line: str, mid: str) -> None:
        """One more address of the peer; an empty line says that there will be no more."""
        if not line:
            await self._pc.addIceCandidate(None)
            return
        candidate = candidate_from_sdp(line)
        candidate.sdpMid = mid
        await self._pc.addIceCandidate(candidate)

    async def close(self, reason: str) -> None:
        """Say goodbye, and free everything."""
        if self._channel is not None:
            self.tell(control.ending(reason))
        await self._pc.close()

    # What the transport asks ----------------------------------------------------------------------------------------

    def tell(self, message: str) -> bool:
        """Send a message; False if it cannot be sent."""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > BEHIND_BYTES:
            return False
        channel.send(message)
        return True

    def show(self, frame: Video | None) -> None:
        """Show a picture."""
        if self._picture is not None:
            self._picture.show(frame)

    def wake(self) -> None:
        """There is something to be said."""
        self._voice.wake()

    async def alive(self) -> int:
        """How many packets have come, of any kind but those of ICE."""
        for receiver in self._pc.getReceivers():
            for stats in (await receiver.getStats()).values():
                if stats.type == "transport":
                    return int(stats.packetsReceived)
        return 0

    # What the connection tells --------------------------------------------------------------------------------------

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._transport.message)
        self.tell(control.ready(self._transport.peer.name, RATE))

    def _on_state(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self._transport.connected()
        elif state == "failed":
            self._transport.left("the connection was lost", clean=False)
        elif state == "closed":
            self._transport.left("it closed the connection", clean=True)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self._video_fps:
            self._tasks.start_soon(self._watch, track)

    async def _watch(self, track: MediaStreamTrack) -> None:
        """Pictures of the camera, as many a second as are wanted. All must be fetched, as aiortc keeps what is not."""
        period, due = 1 / self._video_fps, 0.0
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            at = float(frame.pts * frame.time_base)
            if at < due and at > due - 2 * period:
                continue
            due = max(due, at - period) + period
            pixels = frame.to_ndarray(format="rgb24")
            self._transport.arrived(Video(data=pixels, format="rgb24", pts=round(at * SECOND)))
