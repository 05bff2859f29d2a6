"""The output queue: frames in order, counted in milliseconds of sound, dropped with their response."""

from __future__ import annotations

from typing import Any

import numpy as np

from bargein.pipeline import Audio, Frame, Text, Transcript
from bargein.services.realtime._dialogue.output_queue import OutputQueue


class Outlet:
    """Keeps what is sent."""

    def __init__(self, *, stale: bool = False) -> None:
        self.stale = stale
        self.sent: list[Frame] = []

    async def send(self, frame: Frame) -> None:
        self.sent.append(frame)


SOUND = Audio(samples=np.zeros(480, np.int16), rate=24_000)


async def test_frames_stay_in_order_and_sound_is_counted() -> None:
    """Sound counts until it has been taken."""
    output, outlet = OutputQueue(), Outlet()
    anything: Any = outlet
    output.add(SOUND, anything)
    output.add(Text(text="Hello"), anything)
    assert (len(output), output.waiting_ms) == (2, 20)
    assert await output.send_next() is SOUND
    assert output.waiting_ms == 0
    await output.send_next()
    assert outlet.sent == [SOUND, Text(text="Hello")]


async def test_stale_media_is_dropped_and_events_are_not() -> None:
    """Sound and text of an interrupted response are dropped, and nothing else."""
    output = OutputQueue()
    fresh: Any = Outlet()
    stale: Any = Outlet(stale=True)
    for outlet in (stale, fresh):
        output.add(SOUND, outlet)
    output.add(Transcript(text="Wait."), stale)
    output.expire()
    assert (len(output), output.waiting_ms) == (2, 20)
    assert await output.send_next() is SOUND
    assert fresh.sent == [SOUND]
    assert await output.send_next() == Transcript(text="Wait.")
