"""Inboxes: three lanes, staleness, bounds and ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    LIVE,
    Audio,
    End,
    Frame,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    Resume,
    Transcript,
)
from bargein.pipeline._epoch import Epoch
from bargein.pipeline._limits import MAX_UPSTREAM
from bargein.pipeline.statistics import Counters
from bargein.pipeline.testing import Harness

from .kit import Plain, Sink, audio, index


class Box:
    """An inbox without a session."""

    def __init__(self, capacity: int = 4) -> None:
        self.epoch = Epoch()
        self.counters = Counters()
        self.overfull: list[Inbox[Any]] = []
        self.inbox: Inbox[Any] = Inbox(self.epoch, self.counters, capacity, self.overfull)

    def all(self) -> list[Frame]:
        return list(iter(self.inbox.receive_nowait, None))


def test_urgent_then_upstream_then_data() -> None:
    """The lanes are emptied in this order."""
    box = Box()
    box.inbox._put(audio())
    box.inbox._put_upstream(Played(response_id="r", ms=1))
    box.inbox._put_urgent(Hold())
    assert [type(frame) for frame in box.all()] == [Hold, Played, Audio]


def test_staleness_is_compared_at_every_put() -> None:
    """What has expired on its way does not go in."""
    box = Box()
    box.epoch.number = 2
    box.inbox._put(audio(epoch=1))
    box.inbox._put(audio(epoch=2))
    assert [frame.epoch for frame in box.all()] == [2]
    assert box.counters.stale == 1


def test_staleness_is_compared_at_every_get() -> None:
    """What has expired while it waited does not come out, purged or not."""
    box = Box()
    box.inbox._put(audio(epoch=0))
    box.inbox._put(audio(1))
    box.epoch.number = 1
    assert [frame.epoch for frame in box.all()] == [LIVE]
    assert box.counters.stale == 1


def test_purging_keeps_order_and_counts() -> None:
    """Stale frames go, the others stay as they were."""
    box = Box(10)
    for at in range(6):
        box.inbox._put(audio(at, epoch=LIVE if at % 2 else 0))
    box.epoch.number = 1
    box.inbox._purge()
    assert len(box.inbox) == 3
    assert [index(frame) for frame in box.all()] == [1, 3, 5]
    assert box.counters.stale == 3


def test_the_urgent_lane_is_bounded() -> None:
    """The newest of a class replaces the older; an interrupt replaces everything."""
    box = Box()
    for epoch in range(1, 100):
        box.inbox._put_urgent(Hold())
        box.inbox._put_urgent(Resume())
        box.inbox._put_urgent(Hold())
        box.inbox._put_urgent(Interrupt(epoch=epoch))
    box.inbox._put_urgent(Resume())
    box.inbox._put_urgent(Hold())
    assert [type(frame) for frame in box.all()] == [Interrupt, Resume, Hold]


def test_the_upstream_lane_is_bounded() -> None:
    """The oldest is dropped and counted."""
    box = Box()
    for ms in range(MAX_UPSTREAM + 10):
        box.inbox._put_upstream(Played(response_id="r", ms=ms))
    frames = box.all()
    assert len(frames) == MAX_UPSTREAM
    assert isinstance(frames[0], Played)
    assert frames[0].ms == 10
    assert box.counters.overflow == 10


def test_trimming_drops_media_before_events() -> None:
    """Sound has a next frame, a transcript has not."""
    box = Box(2)
    for frame in (Transcript(text="a"), audio(1), audio(2), Transcript(text="b")):
        box.inbox._put(frame)
    assert box.overfull == [box.inbox]
    box.inbox._trim()
    assert [type(frame) for frame in box.all()] == [Transcript, Transcript]
    for text in "abcd":
        box.inbox._put(Transcript(text=text))
    box.inbox._trim()
    assert [frame.text for frame in box.all() if isinstance(frame, Transcript)] == ["c", "d"]
    assert box.counters.overflow == 4


async def test_the_end_comes_after_everything() -> None:
    """The end is given only to processors that take it. Then there is nothing more."""
    box = Box()
    box.inbox._put(audio(1))
    box.inbox._put_end(End(), deliver=True)
    box.inbox._put(audio(2))
    box.inbox._put_urgent(Hold())
    assert [type(frame) async for frame in box.inbox] == [Hold, Audio, End]
    assert box.counters.late == 1
    with pytest.raises(anyio.EndOfStream):
        await box.inbox.receive()
    assert box.inbox.ended


async def test_closing_frees_senders() -> None:
    """A sender that waits for room continues when the processor has ended. What waited is counted."""
    box = Box(1)
    box.inbox._put(audio(1))
    box.inbox._put(audio(2))
    async with anyio.create_task_group() as group:
        group.start_soon(box.inbox._wait_for_room)
        await anyio.wait_all_tasks_blocked()
        box.inbox._close()
    box.inbox._put(audio(3))
    box.inbox._put_urgent(Hold())
    box.inbox._put_upstream(Played(response_id="r", ms=1))
    assert box.counters.late == 4
    assert repr(box.inbox) == "<Inbox 0/1 closed>"


async def test_several_may_wait_on_one_inbox() -> None:
    """Each frame goes to one of them, and the end to all."""
    box = Box(100)
    got: list[int] = []

    async def take() -> None:
        async for frame in box.inbox:
            got.append(index(frame))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        for at in range(20):
            box.inbox._put(audio(at))
        await anyio.wait_all_tasks_blocked()
        box.inbox._put_end(End(), deliver=False)
    assert sorted(got) == list(range(20))


@pytest.mark.virtual
async def test_a_busy_loop_lets_others_run() -> None:
    """Sending without ever waiting gives the other tasks a turn now and then."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        async with Pipeline(Plain(), Sink()).session() as session:
            for at in range(1600):
                await session.send(audio(at))
        group.cancel_scope.cancel()
    assert turns >= 90


@pytest.mark.virtual
async def test_pacing_hears_urgent_frames() -> None:
    """`inbox.urgent(seconds)` sleeps, unless something urgent comes; data stays where it is."""
    woken: list[tuple[float, str]] = []

    class Paces(Processor):
        async def run(self, inbox: Inbox[Audio | Interrupt | Hold], out: Outlet[Audio]) -> None:
            for _ in range(3):
                frame = await inbox.urgent(1.0)
                woken.append((anyio.current_time(), type(frame).__name__))
            assert len(inbox) == 1

    async with Harness(Paces()) as harness:
        began = anyio.current_time()
        await harness.send(audio())
        await anyio.sleep(1.5)
        harness.session.offer(Hold())
        harness.interrupt()
        await harness.end()
    assert [name for _, name in woken] == ["NoneType", "Interrupt", "NoneType"]
    assert [at - began for at, _ in woken] == pytest.approx([1, 1.5, 2.5])


async def test_bypassing_frame_keeps_its_delivery() -> None:
    """A transcript that waits to bypass an unfused processor counts as an event: media is dropped before it."""
    async with Harness(Plain(), fused=False, capacity=4) as harness:
        harness.session.offer(Transcript(text="words"))
        for at in range(8):
            harness.session.offer(audio(at))
        await harness.end()
    assert len(harness.of(Transcript)) == 1
    assert len(harness.of(Audio)) == 3
