"""One peer connection of aiortc, and what of it concerns a transport. Imports aiortc."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVarTuple

import anyio
import anyio.abc
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
from aiortc.sdp import SessionDescription, candidate_from_sdp
from bargein.pipeline import Video
from bargein.services.media.intake import intercept
from bargein.services.media.listening import RATE
from bargein.services.media.tracks import PictureTrack, VoiceTrack
from bargein.services.transports import control

from ._fragment import Fragment, credentials, hidden, renewed
from ._path import Path
from .transport import BEHIND_BYTES, WebRtcTransport

__all__ = ["RtcConnection", "parsed"]

Args = TypeVarTuple("Args")

log = logging.getLogger("bargein.webrtc")

SECOND = 1_000_000_000
GOODBYE_SECONDS = 0.5
"""How long the last message may take to be on its way."""
RESTART_SECONDS = 30.0
"""How long an ICE restart may look for a way."""


def parsed(offer: str) -> SessionDescription:
    """An offer, whole enough for aiortc, which takes much on trust. Raises `ValueError` with what is wrong with it."""
    try:
        description = SessionDescription.parse(offer)
    except Exception as error:  # a parser that was not made for what strangers send
        raise ValueError(f"this is no session description: {type(error).__name__}: {error}") from None
    mids = [media.rtp.muxId for media in description.media]
    if not mids:
        raise ValueError("this offer has no media; offer audio, or a data channel, or both")
    if "" in mids or len(set(mids)) < len(mids):
        raise ValueError(f"the media of this offer are called {mids}; expected a `mid` of its own for each")
    for media in description.media:
        if media.kind not in ("audio", "video", "application"):
            raise ValueError(f"medium {media.rtp.muxId} is {media.kind!r}; expected audio, video or application")
        ice, dtls = media.ice, media.dtls
        if not (ice and ice.usernameFragment and ice.password and dtls and dtls.fingerprints):
            raise ValueError(f"medium {media.rtp.muxId} has no ICE credentials, or no fingerprint")
    if sum(media.kind == "application" for media in description.media) > 1:
        raise ValueError("this offer has two associations of data channels; expected one")
    bundled = [mid for group in description.group if group.semantic == "BUNDLE" for mid in group.items]
    if (bundled or len(mids) > 1) and set(bundled) != set(mids):
        raise ValueError(f"this offer bundles {bundled} of {mids}; expected all media on one way")
    return description


class RtcConnection:
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
        self._audio: RTCRtpTransceiver | None = None
        self._path: Path | None = None
        self._servers = config.iceServers or []
        self.username = ""
        """The peer's `ice-ufrag`; another one asks for a restart."""
        self._negotiating = anyio.Lock()
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("track", self._on_track)
        self._pc.on("connectionstatechange", self._on_state)

    # Negotiation ----------------------------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """The answer to an offer, the first or a later one. Raises whatever aiortc does for one that is wrong."""
        async with self._negotiating:
            return await self._answer(offer)

    async def restart(self, username: str, password: str) -> str:
        """An ICE restart without an offer: the answer to the last one, with these credentials of the peer."""
        async with self._negotiating:
            return await self._answer(renewed(self._pc.remoteDescription.sdp, username, password))

    async def _answer(self, offer: str) -> str:
        if self._audio is None and any(media.kind == "audio" for media in parsed(offer).media):
            self._take_voice()
        username, password = credentials(offer)
        path = self._path if username != self.username else None
        if path is None:
            return await self._negotiated(offer, username)
        await path.renew()
        try:
            answer = await self._negotiated(offer, username)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await path.abandon()
            raise
        self._spawn(self._switch, path, username, password)
        return answer

    async def _negotiated(self, offer: str, username: str) -> str:
        pc = self._pc
        offer, later = hidden(offer)
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        if self._path is None:
            self._path = Path(self._dtls.transport, self._servers)
        self.username = username
        self._transport.deaf = self._audio is None
        for transceiver in pc.getTransceivers():
            self._fit(transceiver)
        await pc.setLocalDescription(await pc.createAnswer())
        if later.candidates:
            self._spawn(self._add, later)
        return str(pc.localDescription.sdp)

    def _take_voice(self) -> None:
        opus = [codec for codec in RTCRtpSender.getCapabilities("audio").codecs if codec.mimeType == "audio/opus"]
        self._audio = transceiver = self._pc.addTransceiver(self._voice, direction="sendrecv")
        transceiver.setCodecPreferences(opus)
        intercept(transceiver.receiver, self._transport.packet)

    def _fit(self, transceiver: RTCRtpTransceiver) -> None:
        """Take of an offered medium what is wanted."""
        if transceiver is self._audio:
            self._transport.deaf = transceiver._offerDirection not in ("sendrecv", "sendonly")
        elif transceiver.kind == "audio":
            transceiver.direction = "inactive"  # one voice is enough
        else:
            if self._show and self._picture is None:
                self._picture = PictureTrack()
                self._pc.addTrack(self._picture)
            if not self._video_fps:
                transceiver.direction = "sendonly" if transceiver.sender.track is not None else "inactive"

    @property
    def _dtls(self) -> RTCDtlsTransport:
        """The one way that all media take."""
        for receiver in self._pc.getReceivers():
            return receiver.transport
        assert self._pc.sctp is not None, "an offer has media"
        return self._pc.sctp.transport

    def _spawn(self, function: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
        """A task of this peer's, whose failure is this peer's alone."""

        async def run() -> None:
            try:
                await function(*args)
            except Exception as error:
                log.exception("%s: %s", self._transport.peer.name, function.__name__)
                self._transport.left(f"its connection failed: {type(error).__name__}", clean=False)

        self._tasks.start_soon(run)

    async def _switch(self, path: Path, username: str, password: str) -> None:
        with anyio.move_on_after(RESTART_SECONDS):
            try:
                await path.switch(username, password)
            except ConnectionError as error:
                log.info("%s: an ICE restart led nowhere: %s", self._transport.peer.name, error)

    async def candidates(self, fragment: Fragment) -> None:
        """More addresses of the peer. Raises whatever aiortc does for what is none; names are looked up later."""
        for line, _ in fragment.candidates:
            candidate_from_sdp(line)  # is it one?
        if any(".local " in line for line, _ in fragment.candidates):
            self._spawn(self._add, fragment)
        else:
            await self._add(fragment)

    async def _add(self, fragment: Fragment) -> None:
        for line, mid in fragment.candidates:
            candidate = candidate_from_sdp(line)
            candidate.sdpMid = mid
            try:
                await self._pc.addIceCandidate(candidate)
            except OSError as error:  # names are asked for by multicast, which not every machine may use
                log.debug("%s: %s is not looked up: %s", self._transport.peer.name, candidate.ip, error)
        if fragment.complete:
            await self._pc.addIceCandidate(None)

    async def close(self, reason: str) -> None:
        """Say goodbye, and free everything."""
        if self._path is not None:
            await self._path.abandon()
        if self.tell(control.ending(reason)) and self._channel is not None:
            sent = anyio.Event()
            self._channel.on("bufferedamountlow", sent.set)
            with anyio.move_on_after(GOODBYE_SECONDS):
                await sent.wait()
        try:
            await self._pc.close()
        except Exception as error:  # aiortc cannot close what has never been whole, such as after an offer of garbage
            log.debug("%s: %s: %s", self._transport.peer.name, type(error).__name__, error)

    # What the transport asks ----------------------------------------------------------------------------------------

    def tell(self, message: str) -> bool:
        """Send a message; False if it cannot be sent."""
        channel = self._channel
        if (
            channel is None
            or self._pc.connectionState != "connected"
            or channel.readyState != "open"
            or channel.bufferedAmount > BEHIND_BYTES
        ):
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

    @property
    def packets(self) -> int:
        """How many have come, of any kind but those of ICE."""
        return sum(int(each.packetsReceived) for each in self._dtls._get_stats().values())

    # What the connection tells --------------------------------------------------------------------------------------

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._transport.message)
        self.tell(control.ready(self._transport.peer.name, RATE))

    def _on_state(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self._transport.connected()
        elif state == "failed" or (state == "closed" and self._path is not None and self._path.lost):
            self._transport.left("the connection was lost", clean=False)
        elif state == "closed":
            self._transport.left("it closed the connection", clean=True)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self._video_fps:
            self._spawn(self._watch, track)

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
