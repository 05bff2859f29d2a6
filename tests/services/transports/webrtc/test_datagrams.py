"""What a peer sends faster than it may is read later, and the event loop passes meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from bargein.pipeline.testing import VirtualLoop
from bargein.services.transports.webrtc._datagrams import DatagramQueue


def test_a_flood_of_datagrams_is_read_at_a_rate() -> None:
    """A quarter of a second's number at once, and the rest evenly. None is lost that found room."""

    async def main() -> tuple[float, int]:
        queue = DatagramQueue(400)
        for number in range(1_000):
            queue.put_nowait((number.to_bytes(2, "big"), 1))
        read = [await queue.get() for _ in range(1_000)]
        numbers = [int.from_bytes(item[0], "big") for item in read if item is not None]
        assert numbers == list(range(1_000))
        return asyncio.get_running_loop().time(), queue.waiting_bytes

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        seconds, waiting = runner.run(main())
    assert seconds == pytest.approx((1_000 - 100) / 400, abs=0.01)
    assert waiting == 0


def test_a_voice_is_read_at_once() -> None:
    """Sound comes fifty times a second, and is never held back."""

    async def main() -> float:
        queue, loop, latest = DatagramQueue(400), asyncio.get_running_loop(), 0.0
        for _ in range(500):
            await asyncio.sleep(0.02)
            queue.put_nowait((b"sound", 1))
            before = loop.time()
            await queue.get()
            latest = max(latest, loop.time() - before)
        return latest

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == 0.0
