"""The media tracks that aiortc's senders pull: the agent's voice and its picture. Imports aiortc."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import anyio
import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from bargein.pipeline import Video
from bargein.pipeline.lowlevel import check_options

from .voice_receiver import RATE
from .voice_sender import PACKET_MS, SILENCE, VoiceSender

__all__ = ["PictureTrack", "VoiceTrack"]

COMFORT_SECONDS = 0.4
"""Time between two packets of silence while there is nothing to say, in seconds. It is Opus's own interval (DTX). It
keeps the listener's jitter buffer alive, and any address translation (NAT) on the way."""
STEP_SECONDS = PACKET_MS / 1000
MAX_LATE_SECONDS = 0.1
"""If a track is pulled later than this, in seconds, its clock restarts. A smaller delay is caught up."""
MAX_BEHIND_MS = 60
"""Waiting sound beyond this, in milliseconds, is sent twice as fast by a steady track."""
REPEAT_SECONDS = 1.0
"""Time in seconds after which a picture is sent again, for a peer that has lost it."""
VIDEO_CLOCK = 90_000
"""RTP clock of video, in Hz."""


class VoiceTrack(MediaStreamTrack):
    """The packets of a `VoiceSender`, one every 20 ms; during silence, one packet of silence every 0.4 s.

    Packets are encoded here, and aiortc sends them unchanged. So silence costs nothing, sound keeps its own rate, and
    no thread is woken. RTP timestamps follow the clock during silence.

    Args:
        voice: The sound to send.
        on_pull: Called after each packet was taken, with the time in seconds. Default: None.
        steady: Whether to send every packet of a silence, for a receiver that needs an unbroken stream. Such a track
            also catches up: it sends twice as fast until at most 60 ms of sound wait. Default: False.
    """

    kind = "audio"

    @check_options
    def __init__(
        self, voice: VoiceSender, on_pull: Callable[[float], None] | None = None, *, steady: bool = False
    ) -> None:
        super().__init__()
        self._voice = voice
        self._on_pull = on_pull
        self._steady = steady
        self._due = anyio.current_time()  # when the next packet is to be sent
        self._at = 0.0  # seconds of media before it
        self._wake = anyio.Event()

    def wake(self) -> None:
        """End a wait for sound: there is something to send."""
        self._wake.set()

    async def recv(self) -> av.Packet[av.stream.Stream]:
        """Return the next packet, when it is due. aiortc calls this."""
        if self.readyState != "live":
            raise MediaStreamError
        # Even a sleep of 0 lets other tasks run, so a track that catches up does not block the event loop.
        await anyio.sleep(max(0.0, self._due - anyio.current_time()))
        idle = self._voice.silent and not self._steady
        if idle:
            self._wake = anyio.Event()
            # There is no await between the check of `silent` and this new event, so no wake-up is lost. The sleep above
            # was already one step of the interval.
            with anyio.move_on_after(COMFORT_SECONDS - STEP_SECONDS):
                await self._wake.wait()
        now = anyio.current_time()
        # RTP time follows the clock during silence. Otherwise the listener would treat later sound as delayed packets
        # and lengthen its jitter buffer.
        if idle or self._due < now - MAX_LATE_SECONDS:
            self._at += now - self._due
            self._due = now
        data = self._voice.pull(now) or SILENCE
        if self._on_pull is not None:
            self._on_pull(now)
        packet = av.Packet(data)
        packet.pts, packet.time_base = round(self._at * RATE), Fraction(1, RATE)
        self._at += STEP_SECONDS
        # Sending at double speed removes a backlog. A backlog that stays would delay every later word and every
        # interrupt.
        behind = self._steady and self._voice.playout.waiting_ms > MAX_BEHIND_MS
        self._due += STEP_SECONDS / 2 if behind else STEP_SECONDS
        return packet


class PictureTrack(MediaStreamTrack):
    """The agent's newest picture, sent as soon as there is one. A picture that was not sent in time is replaced."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._began = anyio.current_time()
        self._next: Video | None = None
        self._last: av.VideoFrame | None = None
        self._wake = anyio.Event()

    def show(self, frame: Video | None) -> None:
        """Send this picture next. None drops a picture that has not been sent.

        Args:
            frame: The picture as raw pixels, or None.

        Raises:
            ValueError: The picture is encoded.
        """
        if frame is not None and isinstance(frame.data, bytes):
            raise ValueError(f"WebRTC takes raw pixels, and got {frame!r}; insert DecodePicture() before the sink")
        self._next = frame
        self._wake.set()

    async def recv(self) -> av.VideoFrame:
        """Return the next picture, or the last one again. aiortc calls this."""
        # aiortc encodes what this returns and asks again at once. So the wait here sets the frame rate.
        while self.readyState == "live":
            self._wake = anyio.Event()
            if self._next is None:
                with anyio.move_on_after(REPEAT_SECONDS):
                    await self._wake.wait()
            if self._next is not None:
                self._last, self._next = _convert_picture(self._next), None
            if self._last is not None:
                self._last.pts = round((anyio.current_time() - self._began) * VIDEO_CLOCK)
                self._last.time_base = Fraction(1, VIDEO_CLOCK)
                return self._last
        raise MediaStreamError


def _convert_picture(frame: Video) -> av.VideoFrame:
    """Convert a picture for aiortc, whose encoders need an even width and height."""
    # Converted once, here. aiortc would convert the picture again at each repetition.
    pixels: Any = frame.data
    pixels = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2]
    pixel_format = {"gray8": "gray"}.get(frame.format, frame.format)
    return av.VideoFrame.from_ndarray(pixels.copy(), format=pixel_format).reformat(format="yuv420p")
