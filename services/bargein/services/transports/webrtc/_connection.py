"""`RtcConnection`: one peer connection of aiortc, as a transport needs it. Imports aiortc."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVarTuple

import anyio
import anyio.abc
import msgspec
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp

from bargein.pipeline import Video
from bargein.pipeline.lowlevel import SECOND
from bargein.services.media.intake import intercept
from bargein.services.media.tracks import PictureTrack, VoiceTrack
from bargein.services.media.voice_receiver import RATE
from bargein.services.transports import control

from ._datagrams import bound_datagrams
from ._fragment import (
    MAX_CANDIDATES,
    Fragment,
    credentials_of,
    is_within_limit,
    limit_candidates,
    replace_credentials,
    split_named_candidates,
)
from ._offer import parse_offer
from ._path import Path
from .transport import MAX_UNREAD_BYTES, WebRtcTransport

__all__ = ["RtcConnection"]

Args = TypeVarTuple("Args")

log = logging.getLogger("bargein.webrtc")

CHANNEL_LABEL = "bargein"
"""The label of the data channel that carries messages, where a peer opens several."""
CAMERA_RATE_FACTOR = 4
"""Factor by which the limit of datagrams grows for a peer that may have a camera. 1,600 a second are about 15
Mbit/s."""
GOODBYE_SECONDS = 0.5
"""Longest time that the last message may take."""
RESTART_SECONDS = 30.0
"""Longest time that an ICE restart may take."""


class RtcConnection:
    """Answers a peer's offers, and passes its sound, pictures and messages to its transport, as the transport's
    `RtcLink`.

    Args:
        transport: Receives the peer's sound, pictures and messages.
        config: The ICE servers.
        tasks: Runs the tasks of this peer.
        video_fps: Maximum number of camera pictures a second; 0 for none.
        show_video: Whether the agent sends pictures.
    """

    def __init__(
        self,
        transport: WebRtcTransport,
        config: RTCConfiguration,
        tasks: anyio.abc.TaskGroup,
        *,
        video_fps: float,
        show_video: bool,
    ) -> None:
        self._transport = transport
        self._tasks = tasks
        self._video_fps = video_fps
        self._show_video = show_video
        self._pc = RTCPeerConnection(config)
        self._channel: RTCDataChannel | None = None
        self._begun = False  # whether the session has begun
        self._voice = VoiceTrack(transport.voice, transport.on_pull)
        self._picture: PictureTrack | None = None
        self._audio: RTCRtpTransceiver | None = None
        self._path: Path | None = None
        self._servers = config.iceServers or []
        self.username = ""
        """The peer's `ice-ufrag`. An offer with a different one asks for an ICE restart."""
        self._candidates: set[str] = set()
        self._negotiating = anyio.Lock()
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("track", self._on_track)
        self._pc.on("connectionstatechange", self._on_state)

    # Negotiation ----------------------------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Return the answer to an offer, the first or a later one. Raises what aiortc raises for a wrong offer."""
        async with self._negotiating:
            return await self._answer(offer)

    async def restart(self, username: str, password: str) -> str:
        """Restart ICE without an offer: return the answer to the last offer with the peer's new credentials."""
        async with self._negotiating:
            return await self._answer(replace_credentials(self._pc.remoteDescription.sdp, username, password))

    async def _answer(self, offer: str) -> str:
        if self._audio is None and any(media.kind == "audio" for media in parse_offer(offer).media):
            self._add_voice()
        username, password = credentials_of(offer)
        path = self._path if username != self.username else None
        if path is None:
            return await self._negotiate(offer, username)
        await path.renew()
        try:
            answer = await self._negotiate(offer, username)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await path.abandon()
            raise
        self._spawn(self._switch, path, username, password)
        return answer

    async def _negotiate(self, offer: str, username: str) -> str:
        pc = self._pc
        if username != self.username:  # an ICE restart uses new addresses
            self._candidates.clear()
        offer, later = split_named_candidates(limit_candidates(offer, self._candidates, MAX_CANDIDATES))
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        if self._path is None:
            rate = self._transport.limits.max_messages_per_second * (CAMERA_RATE_FACTOR if self._video_fps else 1)
            bound_datagrams(self._dtls.transport._connection, rate)  # ICE begins below, with the answer
            self._path = Path(self._dtls.transport, self._servers, rate)
        self.username = username
        self._transport.deaf = self._audio is None
        for transceiver in pc.getTransceivers():
            self._set_direction(transceiver)
        await pc.setLocalDescription(await pc.createAnswer())
        if later.candidates:
            self._spawn(self._add_candidates, later)
        return str(pc.localDescription.sdp)

    def _add_voice(self) -> None:
        opus = [codec for codec in RTCRtpSender.getCapabilities("audio").codecs if codec.mimeType == "audio/opus"]
        self._audio = transceiver = self._pc.addTransceiver(self._voice, direction="sendrecv")
        transceiver.setCodecPreferences(opus)
        intercept(transceiver.receiver, self._transport.on_packet)

    def _set_direction(self, transceiver: RTCRtpTransceiver) -> None:
        """Accept the directions of an offered medium that this side wants."""
        if transceiver is self._audio:
            # Private: aiortc has no public attribute for the direction that the peer offered.
            self._transport.deaf = transceiver._offerDirection not in ("sendrecv", "sendonly")
        elif transceiver.kind == "audio":
            transceiver.direction = "inactive"  # one voice is enough
        else:
            if self._show_video and self._picture is None:
                self._picture = PictureTrack()
                self._pc.addTrack(self._picture)
            if not self._video_fps:
                transceiver.direction = "sendonly" if transceiver.sender.track is not None else "inactive"

    @property
    def _dtls(self) -> RTCDtlsTransport:
        """The DTLS transport of all media, which are bundled."""
        for receiver in self._pc.getReceivers():
            return receiver.transport
        assert self._pc.sctp is not None, "an offer without media has been refused"
        return self._pc.sctp.transport

    def _spawn(self, function: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
        """Start a task whose failure ends this peer only."""

        async def run() -> None:
            try:
                await function(*args)
            except Exception as error:
                log.exception("%s: %s", self._transport.peer.name, function.__name__)
                self._transport.leave(f"its connection failed: {type(error).__name__}", clean=False)

        self._tasks.start_soon(run)

    async def _switch(self, path: Path, username: str, password: str) -> None:
        with anyio.move_on_after(RESTART_SECONDS):
            try:
                await path.switch(username, password)
            except ConnectionError as error:
                log.info("%s: an ICE restart failed: %s", self._transport.peer.name, error)

    async def add_fragment(self, fragment: Fragment) -> None:
        """Add more addresses of the peer; names are looked up later. Raises what aiortc raises for a wrong address."""
        allowed = tuple(
            (line, mid)
            for line, mid in fragment.candidates
            if is_within_limit(f"candidate:{line}", self._candidates, MAX_CANDIDATES)
        )
        fragment = msgspec.structs.replace(fragment, candidates=allowed)
        for line, _ in fragment.candidates:
            candidate_from_sdp(line)  # raises for a line that is not a candidate
        if any(".local " in line for line, _ in fragment.candidates):
            self._spawn(self._add_candidates, fragment)
        else:
            await self._add_candidates(fragment)

    async def _add_candidates(self, fragment: Fragment) -> None:
        for line, mid in fragment.candidates:
            candidate = candidate_from_sdp(line)
            candidate.sdpMid = mid
            try:
                await self._pc.addIceCandidate(candidate)
            except OSError as error:  # names are looked up by multicast, which is forbidden on some machines
                log.debug("%s: %s is not looked up: %s", self._transport.peer.name, candidate.ip, error)
        if fragment.complete:
            await self._pc.addIceCandidate(None)

    async def close(self, reason: str) -> None:
        """Tell the peer why the session is over, and free everything."""
        if self._path is not None:
            await self._path.abandon()
        if self.send(control.encode_end(reason)) and self._channel is not None:
            sent = anyio.Event()
            self._channel.on("bufferedamountlow", sent.set)
            with anyio.move_on_after(GOODBYE_SECONDS):
                await sent.wait()
        try:
            await self._pc.close()
        except Exception as error:  # aiortc cannot close a connection that was never complete, as after a wrong offer
            log.debug("%s: %s: %s", self._transport.peer.name, type(error).__name__, error)

    # What the transport uses ----------------------------------------------------------------------------------------

    def send(self, message: str) -> bool:
        """Send a message. Return False if it cannot be sent."""
        channel = self._channel
        if (
            channel is None
            or self._pc.connectionState != "connected"
            or channel.readyState != "open"
            or channel.bufferedAmount > MAX_UNREAD_BYTES
        ):
            return False
        channel.send(message)
        return True

    def begin(self) -> None:
        """Tell the peer that its session has begun, as soon as it has a channel."""
        self._begun = True
        self._send_ready()

    def _send_ready(self) -> None:
        transport = self._transport
        if self._begun:
            name, token, resumed = transport.peer.name, transport.resume_token, transport.resumed
            self.send(control.encode_ready(name, RATE, resume=token, resumed=resumed))

    def show(self, frame: Video | None) -> None:
        """Show a picture; None drops one that has not been sent."""
        if self._picture is not None:
            self._picture.show(frame)

    def wake(self) -> None:
        """Wake the voice track, because there is sound to send."""
        self._voice.wake()

    @property
    def packets(self) -> int:
        """The number of packets of any kind but ICE's that have come."""
        # Private: aiortc's public getStats() is a coroutine that asks every sender and receiver.
        return sum(int(each.packetsReceived) for each in self._dtls._get_stats().values())

    # What the connection reports ------------------------------------------------------------------------------------

    def _on_channel(self, channel: RTCDataChannel) -> None:
        """Take the peer's first data channel, or the one called "bargein", for messages. Others are the page's own."""
        current = self._channel
        if current is not None and current.readyState != "closed" and not self._is_better(channel, current):
            log.debug("%s: the data channel %r is ignored", self._transport.peer.name, channel.label)
            return

        def on_message(data: str | bytes) -> None:
            if channel is self._channel:
                self._transport.on_message(data)

        self._channel = channel
        channel.on("message", on_message)
        self._send_ready()

    @staticmethod
    def _is_better(channel: RTCDataChannel, current: RTCDataChannel) -> bool:
        return channel.label == CHANNEL_LABEL and current.label != CHANNEL_LABEL

    def _on_state(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self._transport.on_connected()
        elif state == "failed" or (state == "closed" and self._path is not None and self._path.lost):
            self._transport.leave("the connection was lost", clean=False)
        elif state == "closed":
            self._transport.leave("it closed the connection", clean=True)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self._video_fps:
            self._spawn(self._take_pictures, track)

    async def _take_pictures(self, track: MediaStreamTrack) -> None:
        """Send `video_fps` camera pictures a second. All are fetched, because aiortc keeps those that are not."""
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
            self._transport.on_frame(Video(data=pixels, format="rgb24", pts=round(at * SECOND)))
