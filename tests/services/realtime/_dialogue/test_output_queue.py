"""What is to be given goes in order, is counted in sound, and does not outlive its response."""

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


async def test_it_goes_in_order_and_its_sound_is_counted() -> None:
    """Until it has been taken."""
    output, outlet = OutputQueue(), Outlet()
    anything: Any = outlet
    output.add(SOUND, anything)
    output.add(Text(text="Hello"), anything)
    assert (len(output), output.waiting_ms) == (2, 20)
    assert await output.send_next() is SOUND
    assert output.waiting_ms == 0
    await output.send_next()
    assert outlet.sent == [SOUND, Text(text="Hello")]


async def test_what_is_stale_is_dropped_and_news_is_not() -> None:
    """Sound and text of a response that was interrupted, and nothing else."""
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
