"""`WebRtcTransport`: the source and the sink of one WebRTC peer."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import Protocol, Self

import anyio
import msgspec

from bargein.pipeline import (
    Audio,
    End,
    Failure,
    Frame,
    Hold,
    Image,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    ResponseEnded,
    Resume,
    UserText,
    Video,
)
from bargein.pipeline.lowlevel import Contract, catch_up, check_options, wait_at_most
from bargein.processors import Commit, Latency
from bargein.services.frames import without_details
from bargein.services.media.voice_receiver import VoiceReceiver
from bargein.services.media.voice_sender import VoiceSender
from bargein.services.sockets.rate_limiter import MessageRate
from bargein.services.transports import control
from bargein.services.transports.frames import PeerJoined, PeerLeft
from bargein.services.transports.sessions import SessionLimits
from bargein.services.transports.transport import Peer, Transport

from ._loss_detector import LossDetector

__all__ = ["MAX_UNREAD_BYTES", "RtcLink", "WebRtcStatistics", "WebRtcTransport"]

log = logging.getLogger("bargein.webrtc")

MAX_WAITING_FRAMES = 256
"""Frames of the peer that may wait until the source's task runs. Beyond it the oldest sound or picture is dropped."""
MAX_WAITING_PICTURES = 2
"""Pictures of the peer that may wait. They are large, so the number is small."""
QUIET_MS = 100
"""Time without a packet, in milliseconds, after which silence is inserted so that turn detection hears the end of
speech."""
TIMER_SLACK_SECONDS = 0.005
"""A timer may fire this much too early, in seconds."""
STEP_SECONDS = 0.02
"""Interval in seconds at which the sink checks whether it has room again, or has played all its sound."""
SINK_CAPACITY = 1500
"""Frames that may wait for the sink, as for a `Pacer`. A model produces speech faster than it is played."""
MAX_UNREAD_MESSAGES = 2_000
"""Messages of the peer that may wait to be read, because it sends more than it may."""
MAX_UNREAD_BYTES = 1 << 20
"""Bytes of messages that may wait for a peer that does not read them."""


class RtcLink(Protocol):
    """The part of a connection that its transport uses."""

    def send(self, message: str) -> bool:
        """Send a message. Return False if there is no channel, or not yet.

        Args:
            message: The message, as text.
        """

    def begin(self) -> None:
        """Tell the peer that its session has begun, as soon as it has a channel."""

    def show(self, frame: Video | None) -> None:
        """Show a picture; None drops one that has not been sent.

        Args:
            frame: The picture as raw pixels, or None.
        """

    def wake(self) -> None:
        """Wake the voice track, because there is sound to send."""

    @property
    def packets(self) -> int:
        """The number of packets of any kind that have come from the peer."""


class WebRtcStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one `WebRtcTransport`."""

    lost: int = 0
    """Packets of the user's sound that never came, or came too late. Silence replaces them."""
    late: int = 0
    """Packets that came too late, or twice."""
    damaged: int = 0
    """Packets that could not be decoded."""
    wrong: int = 0
    """Messages that could not be understood."""
    dropped: int = 0
    """Frames of the user that were dropped because the graph did not take them in time."""
    unsent: int = 0
    """Messages to the peer that were not sent: it has no channel, or does not read it."""


class WebRtcTransport(Transport):
    """A WebRTC peer: its voice, camera and messages. `WebRtcServer` makes it.

    The user's sound is 48 kHz, mono (`Resample` it as needed), in frames of 20 ms as they come. For a late packet, the
    sound waits until five more have come; a lost one becomes silence. `Video` comes as rgb24.

    The RTP sender is the sink's clock: it pulls a packet every 20 ms. `Played` counts what has been handed to it.

    Args:
        peer: The other end.
        limits: The limits of the peer.
        pictures: Whether the source sends `Video`, and the sink takes it.
    """

    @check_options
    def __init__(self, peer: Peer, limits: SessionLimits, *, pictures: bool = False) -> None:
        self.peer = peer
        self.limits = limits
        """The limits of the peer."""
        self._player = _VoicePlayer(self, pictures=pictures)
        self.source = Pipeline(_PeerReader(self, pictures=pictures), _EventSender(self), name="source")
        self._latency = Latency()
        self.sink = Pipeline(self._latency, self._player, name="sink")
        self.voice = VoiceSender()
        """The agent's sound that waits to be sent."""
        self.receiver = VoiceReceiver()
        """Decodes the user's sound."""
        self.deaf = False
        """Whether the peer accepts no sound. Then the agent's sound is dropped."""
        self.loss_detector = LossDetector(lambda: 0 if self.link is None else self.link.packets)
        """Notices that the network to the peer is lost."""
        self.link: RtcLink | None = None
        """The connection, once there is one."""
        self._dropped = self._unsent = self._wrong = 0
        self._arrived: deque[Frame] = deque()
        self._unread: deque[str | bytes] = deque()  # messages of the data channel
        self._unread_bytes = 0
        self._rate = MessageRate(limits.max_messages_per_second)
        self._next_message_at = 0.0
        self._wake = anyio.Event()
        self._left: PeerLeft | None = None
        self._connected = anyio.Event()
        self._heard_at = self._packet_at = anyio.current_time()

    def statistics(self) -> WebRtcStatistics:
        """Return the counters."""
        reorder = self.receiver.reorder
        return WebRtcStatistics(
            lost=reorder.lost,
            late=reorder.late,
            damaged=self.receiver.damaged,
            wrong=self._wrong,
            dropped=self._dropped,
            unsent=self._unsent,
        )

    # What the connection calls --------------------------------------------------------------------------------------

    def on_connected(self) -> None:
        """Note that media can flow."""
        self._connected.set()

    def on_packet(self, number: int, timestamp: int, data: bytes) -> None:
        """Take a packet of the peer's voice.

        Args:
            number: The packet's sequence number (16 bits).
            timestamp: Its RTP timestamp (32 bits).
            data: Its payload.
        """
        self._heard_at = self._packet_at = anyio.current_time()
        self.loss_detector.on_microphone(self._packet_at, number)
        for audio in self.receiver.packet(number, timestamp, data):
            self.on_frame(audio)

    def on_frame(self, frame: Frame) -> None:
        """Take a frame of the peer.

        Args:
            frame: The frame.
        """
        if isinstance(frame, UserText):
            self._latency.note_question()
        self._heard_at = anyio.current_time()
        pictures = [at for at, each in enumerate(self._arrived) if isinstance(each, Video)]
        if len(pictures) >= MAX_WAITING_PICTURES and isinstance(frame, Video):
            self._drop(pictures[0])
        elif len(self._arrived) >= MAX_WAITING_FRAMES:
            self._drop(next((at for at, each in enumerate(self._arrived) if isinstance(each, Audio | Video)), 0))
        self._arrived.append(frame)
        self._wake.set()

    def _drop(self, at: int) -> None:
        del self._arrived[at]
        self._dropped += 1

    def on_message(self, data: str | bytes) -> None:
        """Take a message of the data channel. It is read when the rate allows it.

        Args:
            data: A message, as the peer wrote it.
        """
        self._heard_at = anyio.current_time()
        self._unread.append(data)
        self._unread_bytes += len(data)
        if len(self._unread) > MAX_UNREAD_MESSAGES or self._unread_bytes > 4 * self.limits.max_message_bytes:
            self.leave(f"it sent more than {self.limits.max_messages_per_second:g} messages a second", clean=False)
        self._wake.set()

    def _read_messages(self) -> None:
        """Read the messages that the rate allows."""
        while self._unread and self._left is None and (now := anyio.current_time()) >= self._next_message_at:
            data = self._unread.popleft()
            self._unread_bytes -= len(data)
            self._next_message_at = now + self._rate.take(now, action=self._read_message(data))

    def _read_message(self, data: str | bytes) -> bool:
        """Read a message. Return whether the agent acts on it."""
        try:
            if len(data) > self.limits.max_message_bytes:
                raise control.ControlError(
                    f"a message of {len(data)} bytes; at most {self.limits.max_message_bytes} are taken", "too_long"
                )
            message = control.decode_user_message(data)
        except control.ControlError as error:
            self._wrong += 1
            self.send(control.encode_error(error))
            if self._wrong > self.limits.max_wrong_messages:
                self.leave("it sent too many wrong messages", clean=False)
            return False
        if isinstance(message, control.Finish):
            self.leave(message.reason or "it said goodbye", clean=True, goodbye=True)
        elif isinstance(message, Frame):  # a `start` repeats what the offer has said
            self.on_frame(message)
        return isinstance(message, UserText | Commit | Interrupt)

    def on_pull(self, now: float) -> None:
        """Note that the RTP sender has taken a packet of the voice, at this time in seconds.

        Args:
            now: The present time in seconds.
        """
        self._player.on_pull(now)

    def leave(self, reason: str, *, clean: bool, goodbye: bool = False) -> None:
        """Note that the peer is gone, or has to go. Only the first call counts.

        Args:
            reason: Why, in a sentence.
            clean: Whether the peer has closed the connection. Many close one before they make the next, so this alone
                does not end the conversation.
            goodbye: Whether the peer has sent its last message, `end`.
        """
        if self._left is None:
            self._left, self.lost = PeerLeft(peer=self.peer, reason=reason, clean=clean), not goodbye
            if self.on_left is not None:
                self.on_left()
        self._connected.set()
        self._wake.set()

    # What the two ends use ------------------------------------------------------------------------------------------

    def send(self, message: str) -> None:
        """Send a message, if the peer has a channel for it.

        Args:
            message: The message, as text.
        """
        if self.link is not None and not self.link.send(message):
            self._unsent += 1

    @property
    def has_left(self) -> bool:
        """Whether the peer has left."""
        return self._left is not None

    async def _read(self, out: Outlet[PeerFrame | Video]) -> None:
        """Send the peer's frames until it has left."""
        if not await wait_at_most(self._connected.wait, self.limits.open_seconds):
            self.leave(f"no connection within {self.limits.open_seconds:g} s", clean=False)
        if self.has_left and not self._arrived:
            return
        await out.send(PeerJoined(peer=self.peer))
        await self._give_frames(out)
        await out.send(Interrupt(reason="the peer has left"))
        assert self._left is not None
        await out.send(self._left)

    async def _give_frames(self, out: Outlet[PeerFrame | Video]) -> None:
        self._heard_at = checked = anyio.current_time()
        packets = 0
        while True:
            self._read_messages()
            while self._arrived:
                frame = self._arrived.popleft()
                assert isinstance(frame, PeerFrame | Video)
                out.offer(frame)
            if self._left is not None:
                return
            self._wake = anyio.Event()
            until_next = self._next_message_at - anyio.current_time() if self._unread else math.inf
            wait = max(0.0, min(QUIET_MS / 1000, until_next))
            due = anyio.current_time() + wait
            with anyio.move_on_after(wait):
                await self._wake.wait()
                continue
            now = anyio.current_time()
            if now - self._packet_at > QUIET_MS / 1000 - TIMER_SLACK_SECONDS:
                self._arrived.extend(self.receiver.quiet(QUIET_MS))
            if self.link is not None and now - checked >= min(1.0, self.limits.idle_seconds / 4):
                checked, before, packets = now, packets, self.link.packets
                if packets != before:
                    self._heard_at = now
            if await catch_up(due, 1.0):  # packets of the peer may wait
                continue
            if now - self._heard_at > self.limits.idle_seconds:
                self.leave(f"nothing came of it for {self.limits.idle_seconds:g} s", clean=False)


PeerFrame = PeerJoined | Audio | Image | UserText | Commit | Interrupt | PeerLeft
SinkFrame = Audio | ResponseEnded | Hold | Resume | Interrupt | End | control.SinkEvent


class _WithPictures(Processor):
    """A loop that takes and sends `Video` only if its peer has pictures.

    If a source declares `Video` and the sink takes it, the graph passes the link check even if no processor between
    them uses pictures. Users would then see their own camera. So a peer without pictures does not declare them.
    """

    def __init__(self, *, pictures: bool) -> None:
        self._pictures = pictures

    @property
    def contract(self) -> Contract:
        """The frames that it takes and sends, with or without `Video`."""
        contract = super().contract
        if self._pictures:
            return contract
        video = frozenset({Video})
        return msgspec.structs.replace(contract, takes=contract.takes - video, gives=contract.gives - video)


class _PeerReader(_WithPictures):
    """Sends what comes from a WebRTC peer."""

    name = "WebRtcSource"

    def __init__(self, transport: WebRtcTransport, *, pictures: bool) -> None:
        super().__init__(pictures=pictures)
        self._transport = transport

    async def run(self, out: Outlet[PeerFrame | Video]) -> None:
        """Send frames until the peer has left."""
        await self._transport._read(out)


class _EventSender(Processor):
    """Sends the peer the events that come up the graph."""

    name = "notes"

    def __init__(self, transport: WebRtcTransport) -> None:
        self._transport = transport

    def process(self, frame: control.SourceEvent) -> None:
        """Send the frame's message. Processors above take the event by themselves, so it is not passed on."""
        if isinstance(frame, Failure) and not self._transport.show_errors:
            frame = without_details(frame)
        if (message := control.encode_agent_message(frame)) is not None:
            self._transport.send(message)


class _VoicePlayer(_WithPictures):
    """Plays sound, shows pictures and sends messages to a WebRTC peer."""

    name = "WebRtcSink"
    capacity = SINK_CAPACITY

    def __init__(self, transport: WebRtcTransport, *, pictures: bool) -> None:
        super().__init__(pictures=pictures)
        self._transport = transport
        self._out: Outlet[Played] | None = None
        self._closing = False

    def __enter__(self) -> Self:
        if self._transport.link is not None:
            self._transport.link.begin()  # before any other message
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: the connection is closed later, after its last message."""

    def on_pull(self, now: float) -> None:
        """Report what has been played, after the RTP sender has taken a packet."""
        if self._out is None:
            return
        playout, loss_detector = self._transport.voice.playout, self._transport.loss_detector
        gaps: dict[tuple[str, str], tuple[float, float]] = {}
        if loss_detector.ended is not None:
            gaps, loss_detector.ended = playout.gaps(*loss_detector.ended), None
        for played in playout.reports(min(now, loss_detector.lost_since(now)), exact=bool(gaps)):
            if (gap := gaps.get((played.response_id, played.item_id))) is not None:
                played = msgspec.structs.replace(played, gaps=(gap,))
            self._out.offer(played)

    async def run(self, inbox: Inbox[SinkFrame | Video], out: Outlet[Played]) -> None:
        """Play until all has been played."""
        self._out, transport = out, self._transport
        transport.voice.stale = inbox.stale
        try:
            while True:
                if self._closing and (transport.voice.done or transport.has_left):
                    return
                frame = await self._receive(inbox)
                if frame is not None:
                    await self._handle(frame, out)
        finally:
            self._out = None

    async def _receive(self, inbox: Inbox[SinkFrame | Video]) -> SinkFrame | Video | None:
        """Return the next frame; None when it is time to check for room, or whether all has been played.

        `End` is returned as a frame. After it, only urgent frames are received, so an interrupt still works while the
        last sound plays.
        """
        if self._closing or (self._transport.voice.full and not self._transport.has_left):
            return await inbox.urgent(STEP_SECONDS)
        try:
            return await inbox.receive()
        except anyio.EndOfStream:
            return End()

    def _finish(self) -> None:
        """Note that nothing more comes. A hold ends, so that the peer hears the rest."""
        self._closing = True
        voice = self._transport.voice
        voice.close()
        voice.playout.resume(anyio.current_time())
        self._wake()

    def _wake(self) -> None:
        if self._transport.link is not None:
            self._transport.link.wake()

    async def _handle(self, frame: SinkFrame | Video, out: Outlet[Played]) -> None:
        voice, link = self._transport.voice, self._transport.link
        if isinstance(frame, Audio):
            if not self._transport.deaf:
                voice.add(frame)
                self._wake()
            return
        if isinstance(frame, Video):
            if link is not None:
                link.show(frame)
            return
        if isinstance(frame, End):
            self._finish()
        elif isinstance(frame, ResponseEnded):
            voice.close(frame)
        elif isinstance(frame, Interrupt | Hold | Resume):
            now = anyio.current_time()
            for played in voice.urgent(frame, min(now, self._transport.loss_detector.lost_since(now))):
                await out.send(played)
            self._wake()
            if link is not None and isinstance(frame, Interrupt):
                link.show(None)
        if (message := control.encode_agent_message(frame)) is not None:
            self._transport.send(message)
