"""Runs: upstream frames, ends and observers."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from bargein.pipeline import (
    Audio,
    Hop,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
)
from bargein.pipeline.testing import Harness

from .kit import Plain, Sink, Waits, audio, index


async def test_upstream_frames_reach_all_above() -> None:
    """`Played` goes to every processor above that takes it, whatever its kind; untaken it leaves the graph."""

    class Hears(Processor):
        def __init__(self) -> None:
            self.heard: list[float] = []

        def process(self, frame: Played) -> None:
            self.heard.append(frame.ms)

    class HearsLater(Processor):
        heard: list[float]

        def __init__(self) -> None:
            self.heard = []

        async def process(self, frame: Played | Audio, out: Outlet[Audio]) -> None:
            if isinstance(frame, Played):
                self.heard.append(frame.ms)
            else:
                await out.send(frame)

    class Plays(Processor):
        def process(self, frame: Audio) -> Iterator[Played | Audio]:
            yield Played(response_id="r", ms=20)
            yield frame

    near, far, deaf = Hears(), HearsLater(), Hears()
    async with Harness(far, near, Plays(), deaf) as harness:
        await harness.send(audio())
        await harness.end()
    assert (near.heard, far.heard, deaf.heard) == ([20], [20], [])
    async with Harness(Plays()) as harness:
        await harness.send(audio())
        await harness.end()
    assert len(harness.of(Played)) == 1
    below = Hears()
    async with Pipeline(Plain(), below).session() as session:
        await session.send(Played(response_id="r", ms=40))
    assert below.heard == [40]


async def test_a_tap_sees_every_hop() -> None:
    """An observer sees who gave what to whom, only while it is attached."""
    seen: list[Hop] = []
    async with Pipeline(Plain(), Waits()).session() as session:
        await session.send(audio(0))
        await anyio.wait_all_tasks_blocked()
        with session.tap(seen.append):
            await session.send(audio(1))
            session.interrupt()
            await anyio.wait_all_tasks_blocked()
        await session.send(audio(2))
    assert [(hop.source, hop.target, type(hop.frame)) for hop in seen] == [
        ("in", "Plain", Audio),
        ("Plain", "Waits", Audio),
        ("in", "out", Interrupt),
        ("Waits", "out", Audio),
    ]


async def test_a_raising_tap_is_removed(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that raises is logged and removed; the session continues."""
    sink = Sink()

    def broken(_: Hop) -> None:
        raise RuntimeError("oops")

    async with Pipeline(Plain(), sink).session() as session:
        with session.tap(broken):
            await session.send(audio())
            await session.send(audio())
    assert len(sink.seen) == 2
    assert len([record for record in caplog.records if "an observer raised" in record.message]) == 1


@pytest.mark.virtual
async def test_upstream_frames_arrive_after_the_end() -> None:
    """A processor that takes upstream frames gets the last of them, although the end has passed it long before."""

    class Keeps(Processor):
        def __init__(self) -> None:
            self.heard: list[float] = []

        def process(self, frame: Played) -> None:
            self.heard.append(frame.ms)

    class KeepsLater(Processor):
        def __init__(self) -> None:
            self.heard: list[float] = []

        async def process(self, frame: Played, out: Outlet[Audio]) -> None:
            await anyio.sleep(0.001)
            self.heard.append(frame.ms)

    class Plays(Processor):
        async def run(self, inbox: Inbox[Audio], out: Outlet[Played]) -> None:
            async for frame in inbox:
                await anyio.sleep(0.02)
                await out.send(Played(response_id="r", ms=20.0 * (1 + index(frame))))

    for fused in (True, False):
        plain, waiting = Keeps(), KeepsLater()
        async with Pipeline(plain, waiting, Plays(), inputs=Audio).session(fused=fused) as session:
            for at in range(5):
                await session.send(audio(at))
        assert plain.heard == [20, 40, 60, 80, 100]
        assert waiting.heard == [20, 40, 60, 80, 100]
        assert session.statistics().tasks == 0


async def test_taps_see_every_hop_unfused_too() -> None:
    """Unfused, an observer sees as many hops as in one sweep."""
    for fused in (True, False):
        seen: list[Hop] = []
        async with Pipeline(Plain(), Plain(), Sink()).session(fused=fused) as session:
            with session.tap(seen.append):
                for at in range(10):
                    await session.send(audio(at))
                await session.drained()
        assert len(seen) == 30
