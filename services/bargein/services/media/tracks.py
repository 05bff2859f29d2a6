"""The tracks that RTP senders pull: the agent's voice and its picture. Imports aiortc."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import anyio
import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from bargein.pipeline import Video

from .listening import RATE
from .voice import PACKET_MS, SILENCE, VoiceSender

__all__ = ["PictureTrack", "VoiceTrack"]

COMFORT = 0.4
"""Seconds between the packets of silence while there is nothing to say: Opus's own interval, which keeps a listener's
buffer, and any address translation on the way, alive."""
STEP = PACKET_MS / 1000
LATE = 0.1
"""More seconds than that behind, the clock of the track begins anew instead of catching up."""
BEHIND_MS = 60
"""More sound than that is not held back by a steady track."""
REPEAT = 1.0
"""Seconds after which a picture is sent again, for a peer that lost it."""
PICTURES = 90_000
"""The clock of video."""


class VoiceTrack(MediaStreamTrack):
    """What a `VoiceSender` has, in packets that are due every 20 ms; while it is silent, one of silence every 0.4 s.

    The packets are encoded here and not by aiortc, which takes encoded ones as they are: so silence costs nothing, the
    sound keeps its own rate, and no thread is woken. RTP timestamps follow the clock through a silence.

    A `steady` one sends every packet of a silence, for whoever must hear without a break, and makes up for sound that
    has come too late to be sent when it was said: it sends twice as fast until no more than 60 ms wait.
    """

    kind = "audio"

    def __init__(
        self, voice: VoiceSender, pulled: Callable[[float], None] | None = None, *, steady: bool = False
    ) -> None:
        super().__init__()
        self._voice = voice
        self._pulled = pulled
        self._steady = steady
        self._due = anyio.current_time()  # when the next packet is to be sent
        self._at = 0.0  # seconds of media before it
        self._wake = anyio.Event()

    def wake(self) -> None:
        """There is something to say."""
        self._wake.set()

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        await anyio.sleep(max(0.0, self._due - anyio.current_time()))
        idle = self._voice.silent and not self._steady
        if idle:
            self._wake = anyio.Event()
            with anyio.move_on_after(COMFORT - STEP):
                await self._wake.wait()
        now = anyio.current_time()
        if idle or self._due < now - LATE:
            self._at += now - self._due
            self._due = now
        data = self._voice.pull(now) or SILENCE
        if self._pulled is not None:
            self._pulled(now)
        packet = av.Packet(data)
        packet.pts, packet.time_base = round(self._at * RATE), Fraction(1, RATE)
        self._at += STEP
        self._due += STEP / 2 if self._steady and self._voice.playout.waiting_ms > BEHIND_MS else STEP
        return packet


class PictureTrack(MediaStreamTrack):
    """The newest picture of the agent, as soon as there is one; what nobody fetched in time is replaced."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._began = anyio.current_time()
        self._next: Video | None = None
        self._last: Any = None
        self._wake = anyio.Event()

    def show(self, frame: Video | None) -> None:
        """Show this next; None forgets what has not been fetched. Raises `ValueError` for an encoded picture."""
        if frame is not None and isinstance(frame.data, bytes):
            raise ValueError(f"WebRTC takes raw pixels, and got {frame!r}; insert DecodePicture() before the sink")
        self._next = frame
        self._wake.set()

    async def recv(self) -> Any:
        """The next picture, or the last one again."""
        while self.readyState == "live":
            self._wake = anyio.Event()
            if self._next is None:
                with anyio.move_on_after(REPEAT):
                    await self._wake.wait()
            if self._next is not None:
                self._last, self._next = _packed(self._next), None
            if self._last is not None:
                self._last.pts = round((anyio.current_time() - self._began) * PICTURES)
                self._last.time_base = Fraction(1, PICTURES)
                return self._last
        raise MediaStreamError


def _packed(frame: Video) -> Any:
    """The picture as aiortc takes it. Its coders want even sides."""
    pixels: Any = frame.data
    pixels = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2]
    form = {"gray8": "gray"}.get(frame.format, frame.format)
    return av.VideoFrame.from_ndarray(pixels.copy(), format=form).reformat(format="yuv420p")
