"""One WebRTC peer, as it stands in a graph."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import anyio
import msgspec
from bargein.pipeline import (
    Audio,
    End,
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
from bargein.processors import Commit, Latency
from bargein.services.media.listening import Listening
from bargein.services.media.voice import VoiceSender
from bargein.services.transports import control
from bargein.services.transports.sessions import SessionLimits
from bargein.services.transports.transport import Peer, PeerJoined, PeerLeft, Transport

__all__ = ["WebRtcStatistics", "WebRtcTransport"]

log = logging.getLogger("bargein.webrtc")

WAITING = 256
"""How many frames of the peer may wait until the source's task runs; then the oldest sound or picture is dropped."""
PICTURES = 2
"""How many pictures may: they are large."""
QUIET_MS = 100
"""After so long without a packet silence is made up, for whoever waits for the end of speech."""
EARLY = 0.005
"""A timer may wake so much too soon (seconds)."""
STEP = 0.02
"""How often the sink looks whether there is room, or all has been played, while it waits for that (seconds)."""
CAPACITY = 1500
"""Frames that may wait for the sink: as of the pacer, since a model is ahead of its listener."""
BEHIND_BYTES = 1 << 20
"""More than that may not wait for a peer that does not read its messages."""


class RtcLink(Protocol):
    """The connection, as its transport uses it."""

    def tell(self, message: str) -> bool:
        """Send a message; False if there is no channel (yet)."""

    def show(self, frame: Video | None) -> None:
        """Show a picture; None forgets what has not been sent."""

    def wake(self) -> None:
        """There is something to be said."""

    @property
    def packets(self) -> int:
        """How many packets have come of the peer, of any kind."""


class WebRtcStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong on the way, counted."""

    lost: int = 0
    """Packets of the user's sound that never came, or too late: silence stands for them."""
    late: int = 0
    """Packets that came too late, or twice."""
    damaged: int = 0
    """Packets that could not be decoded."""
    wrong: int = 0
    """Messages that could not be understood."""
    dropped: int = 0
    """Frames of the user's that were not given, because nobody had the time to take them."""
    untold: int = 0
    """Messages to the peer that were not sent: it has no channel, or does not read."""


class WebRtcTransport(Transport):
    """A peer on WebRTC: its voice, camera and messages; made by `WebRtcServer`.

    The user's sound is 48 kHz, mono (`Resample` it as you need), in frames of 20 ms as they come: whatever waits for
    a packet that is late, waits for five more at most. What is lost is silence. `Video` comes as rgb24.

    Only with `pictures` does it give and take `Video`.

    The sink is clocked by the RTP sender, which pulls a packet every 20 ms; `Played` counts what was handed to it.
    """

    def __init__(self, peer: Peer, limits: SessionLimits, *, pictures: bool = False) -> None:
        self.peer = peer
        self.limits = limits
        """What the peer may do."""
        self._player = _Player(self)
        self.source = Pipeline((_Sees if pictures else _Source)(self), _Notes(self), name="source")
        self._latency = Latency()
        self.sink = Pipeline(self._latency, (_Shows if pictures else _Sink)(self._player), name="sink")
        self.voice = VoiceSender()
        """What the agent says."""
        self.listening = Listening()
        """What the user says."""
        self.deaf = False
        """The peer takes no sound: what the agent says is dropped."""
        self.line: RtcLink | None = None
        """The connection, once there is one."""
        self._dropped = self._untold = 0
        self._arrived: deque[Frame] = deque()
        self._wake = anyio.Event()
        self._left: tuple[str, bool] | None = None
        self._connected = anyio.Event()
        self._wrong = 0
        self._heard_at = self._packet_at = anyio.current_time()

    def statistics(self) -> WebRtcStatistics:
        """What has been counted so far."""
        reorder = self.listening.reorder
        return WebRtcStatistics(
            lost=reorder.lost,
            late=reorder.late,
            damaged=self.listening.damaged,
            wrong=self._wrong,
            dropped=self._dropped,
            untold=self._untold,
        )

    # What the connection says ---------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Media can flow."""
        self._connected.set()

    def packet(self, number: int, timestamp: int, data: bytes) -> None:
        """A packet of the peer's voice has come."""
        self._heard_at = self._packet_at = anyio.current_time()
        for audio in self.listening.packet(number, timestamp, data):
            self.arrived(audio)

    def arrived(self, frame: Frame) -> None:
        """Something of the peer has come."""
        if isinstance(frame, UserText):
            self._latency.asked()
        self._heard_at = anyio.current_time()
        pictures = [at for at, each in enumerate(self._arrived) if isinstance(each, Video)]
        if len(pictures) >= PICTURES and isinstance(frame, Video):
            self._drop(pictures[0])
        elif len(self._arrived) >= WAITING:
            self._drop(next((at for at, each in enumerate(self._arrived) if isinstance(each, Audio | Video)), 0))
        self._arrived.append(frame)
        self._wake.set()

    def _drop(self, at: int) -> None:
        del self._arrived[at]
        self._dropped += 1

    def message(self, data: str | bytes) -> None:
        """A message has come on the data channel."""
        self._heard_at = anyio.current_time()
        try:
            if len(data) > self.limits.message_bytes:
                raise control.ControlError(
                    f"a message of {len(data)} bytes; at most {self.limits.message_bytes} are taken", "too_long"
                )
            meant = control.decode(data)
        except control.ControlError as error:
            self._wrong += 1
            self.tell(control.fault(error))
            if self._wrong > self.limits.wrong_messages:
                self.left("it sent too many wrong messages", clean=False)
            return
        if isinstance(meant, control.Finish):
            self.left(meant.reason or "it said goodbye", clean=True)
        elif isinstance(meant, Frame):  # a `start` says nothing that the offer has not said
            self.arrived(meant)

    def pulled(self, now: float) -> None:
        """The RTP sender has taken a packet of the voice."""
        self._player.pulled(now)

    def left(self, reason: str, *, clean: bool) -> None:
        """The peer is gone."""
        if self._left is None:
            self._left = (reason, clean)
            if self.on_left is not None:
                self.on_left()
        self._connected.set()
        self._wake.set()

    # What the two ends need -----------------------------------------------------------------------------------------

    def tell(self, message: str) -> None:
        """Send a message if the peer has a channel for it."""
        if self.line is not None and not self.line.tell(message):
            self._untold += 1

    @property
    def gone(self) -> bool:
        """The peer has left."""
        return self._left is not None

    async def come(self, out: Outlet[Any]) -> None:
        """Give what comes, until the peer has left."""
        with anyio.move_on_after(self.limits.open_seconds):
            await self._connected.wait()
        if not self._connected.is_set():
            self.left(f"no connection within {self.limits.open_seconds:g} s", clean=False)
        if self.gone and not self._arrived:
            return
        await out.send(PeerJoined(peer=self.peer))
        self._heard_at = checked = anyio.current_time()
        packets = 0
        while True:
            while self._arrived:
                out.offer(self._arrived.popleft())
            if self._left is not None:
                break
            self._wake = anyio.Event()
            with anyio.move_on_after(QUIET_MS / 1000):
                await self._wake.wait()
                continue
            now = anyio.current_time()
            if now - self._packet_at > QUIET_MS / 1000 - EARLY:
                self._arrived.extend(self.listening.quiet(QUIET_MS))
            if self.line is not None and now - checked >= min(1.0, self.limits.idle_seconds / 4):
                checked, before, packets = now, packets, self.line.packets
                if packets != before:
                    self._heard_at = now
            if now - self._heard_at > self.limits.idle_seconds:
                self.left(f"nothing came of it for {self.limits.idle_seconds:g} s", clean=False)
        await out.send(Interrupt(reason="the peer has left"))
        reason, clean = self._left
        await out.send(PeerLeft(peer=self.peer, reason=reason, clean=clean))


Given = PeerJoined | Audio | Image | UserText | Commit | Interrupt | PeerLeft
Taken = Audio | ResponseEnded | Hold | Resume | Interrupt | End | control.Told


class _Source(Processor):
    """What comes from a WebRTC peer."""

    name = "WebRtcSource"

    def __init__(self, transport: WebRtcTransport) -> None:
        self._transport = transport

    async def run(self, out: Outlet[Given]) -> None:
        """Until the peer has left."""
        await self._transport.come(out)


class _Sees(Processor):
    """The same with a camera. What would never come is not promised."""

    name = "WebRtcSource"

    def __init__(self, transport: WebRtcTransport) -> None:
        self._transport = transport

    async def run(self, out: Outlet[Given | Video]) -> None:
        """Until the peer has left."""
        await self._transport.come(out)


class _Notes(Processor):
    """Tells the peer what comes up, and passes it on."""

    name = "notes"

    def __init__(self, transport: WebRtcTransport) -> None:
        self._transport = transport

    def process(self, frame: control.Noted) -> Iterator[control.Noted]:
        """Tell and pass on."""
        if (message := control.encode(frame)) is not None:
            self._transport.tell(message)
        yield frame


class _Player:
    """Plays, shows and tells: what the sink does."""

    def __init__(self, transport: WebRtcTransport) -> None:
        self._transport = transport
        self._out: Outlet[Played] | None = None
        self._closing = False

    def pulled(self, now: float) -> None:
        """The RTP sender has taken a packet."""
        if self._out is not None:
            for played in self._transport.voice.playout.reports(now):
                self._out.offer(played)

    async def play(self, inbox: Inbox[Taken | Video], out: Outlet[Played]) -> None:
        """Until all has been played."""
        self._out, transport = out, self._transport
        transport.voice.stale = inbox.stale
        try:
            while True:
                if self._closing and (transport.voice.done or transport.gone):
                    return
                frame = await self._next(inbox)
                if frame is not None:
                    await self._take(frame, out)
        finally:
            self._out = None

    async def _next(self, inbox: Inbox[Taken | Video]) -> Taken | Video | None:
        """What comes; None when it is time to look again whether there is room, or all has been played.

        The end is taken as a frame, and nothing asked for behind it: so an interrupt is still heard while the last is
        played.
        """
        if self._closing or (self._transport.voice.full and not self._transport.gone):
            return await inbox.urgent(STEP)
        try:
            return await inbox.receive()
        except anyio.EndOfStream:
            return End()

    def _finish(self) -> None:
        """Nothing more comes: nobody is left on hold."""
        self._closing = True
        voice = self._transport.voice
        voice.close()
        voice.playout.resume(anyio.current_time())
        self._wake()

    def _wake(self) -> None:
        if self._transport.line is not None:
            self._transport.line.wake()

    async def _take(self, frame: Taken | Video, out: Outlet[Played]) -> None:
        voice, line = self._transport.voice, self._transport.line
        if isinstance(frame, Audio):
            if not self._transport.deaf:
                voice.add(frame)
                self._wake()
            return
        if isinstance(frame, Video):
            if line is not None:
                line.show(frame)
            return
        if isinstance(frame, End):
            self._finish()
        elif isinstance(frame, ResponseEnded):
            voice.close(frame)
        elif isinstance(frame, Interrupt | Hold | Resume):
            for played in voice.urgent(frame, anyio.current_time()):
                await out.send(played)
            self._wake()
            if line is not None and isinstance(frame, Interrupt):
                line.show(None)
        if (message := control.encode(frame)) is not None:
            self._transport.tell(message)


class _Sink(Processor):
    """What goes to a WebRTC peer."""

    name = "WebRtcSink"
    capacity = CAPACITY

    def __init__(self, player: _Player) -> None:
        self._player = player

    async def run(self, inbox: Inbox[Taken], out: Outlet[Played]) -> None:
        """Play and tell, until all has been played."""
        await self._player.play(inbox, out)


class _Shows(Processor):
    """The same with pictures."""

    name = "WebRtcSink"
    capacity = CAPACITY

    def __init__(self, player: _Player) -> None:
        self._player = player

    async def run(self, inbox: Inbox[Taken | Video], out: Outlet[Played]) -> None:
        """Play, show and tell, until all has been played."""
        await self._player.play(inbox, out)
