"""Inboxes and outlets: the three lanes, the bounds, and what is compared when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    LIVE,
    Audio,
    Branch,
    Delivery,
    End,
    Frame,
    FrameError,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    Resume,
    Text,
    Transcript,
)
from bargein.pipeline._epoch import Epoch
from bargein.pipeline.ports import NEWS_ROOM
from bargein.pipeline.statistics import Counters
from bargein.pipeline.testing import Harness

from .kit import Loops, Plain, Sink, Waits, audio, index


class Box:
    """An inbox without a session."""

    def __init__(self, capacity: int = 4) -> None:
        self.epoch = Epoch()
        self.counters = Counters()
        self.overfull: list[Inbox[Any]] = []
        self.inbox: Inbox[Any] = Inbox(self.epoch, self.counters, capacity, self.overfull)

    def all(self) -> list[Frame]:
        return list(iter(self.inbox.receive_nowait, None))


def test_urgent_then_news_then_data() -> None:
    """The lanes are emptied in this order."""
    box = Box()
    box.inbox.put(audio())
    box.inbox.put_news(Played(response_id="r", ms=1))
    box.inbox.put_urgent(Hold())
    assert [type(frame) for frame in box.all()] == [Hold, Played, Audio]


def test_staleness_is_compared_at_every_put() -> None:
    """What has expired on its way does not go in."""
    box = Box()
    box.epoch.number = 2
    box.inbox.put(audio(epoch=1))
    box.inbox.put(audio(epoch=2))
    assert [frame.epoch for frame in box.all()] == [2]
    assert box.counters.stale == 1


def test_staleness_is_compared_at_every_get() -> None:
    """What has expired while it waited does not come out, purged or not."""
    box = Box()
    box.inbox.put(audio(epoch=0))
    box.inbox.put(audio(1))
    box.epoch.number = 1
    assert [frame.epoch for frame in box.all()] == [LIVE]
    assert box.counters.stale == 1


def test_purging_keeps_order_and_counts() -> None:
    """Stale frames go, the others stay as they were."""
    box = Box(10)
    for at in range(6):
        box.inbox.put(audio(at, epoch=LIVE if at % 2 else 0))
    box.epoch.number = 1
    box.inbox.purge()
    assert len(box.inbox) == 3
    assert [index(frame) for frame in box.all()] == [1, 3, 5]
    assert box.counters.stale == 3


def test_the_urgent_lane_is_bounded() -> None:
    """The newest of a class replaces the older; an interrupt replaces everything."""
    box = Box()
    for epoch in range(1, 100):
        box.inbox.put_urgent(Hold())
        box.inbox.put_urgent(Resume())
        box.inbox.put_urgent(Hold())
        box.inbox.put_urgent(Interrupt(epoch=epoch))
    box.inbox.put_urgent(Resume())
    box.inbox.put_urgent(Hold())
    assert [type(frame) for frame in box.all()] == [Interrupt, Resume, Hold]


def test_the_news_lane_is_bounded() -> None:
    """The oldest is dropped and counted."""
    box = Box()
    for ms in range(NEWS_ROOM + 10):
        box.inbox.put_news(Played(response_id="r", ms=ms))
    frames = box.all()
    assert len(frames) == NEWS_ROOM
    assert isinstance(frames[0], Played)
    assert frames[0].ms == 10
    assert box.counters.overflow == 10


def test_trimming_drops_media_before_news() -> None:
    """Sound has a next frame, a transcript has not."""
    box = Box(2)
    for frame in (Transcript(text="a"), audio(1), audio(2), Transcript(text="b")):
        box.inbox.put(frame)
    assert box.overfull == [box.inbox]
    box.inbox.trim()
    assert [type(frame) for frame in box.all()] == [Transcript, Transcript]
    for text in "abcd":
        box.inbox.put(Transcript(text=text))
    box.inbox.trim()
    assert [frame.text for frame in box.all() if isinstance(frame, Transcript)] == ["c", "d"]
    assert box.counters.overflow == 4


async def test_the_end_comes_after_everything() -> None:
    """And is given only to those that want it; then there is nothing more."""
    box = Box()
    box.inbox.put(audio(1))
    box.inbox.put_end(End(), give=True)
    box.inbox.put(audio(2))
    box.inbox.put_urgent(Hold())
    assert [type(frame) async for frame in box.inbox] == [Hold, Audio, End]
    assert box.counters.late == 1
    with pytest.raises(anyio.EndOfStream):
        await box.inbox.receive()
    assert box.inbox.ended


async def test_closing_frees_senders() -> None:
    """Who waits for room in an inbox whose processor has ended goes on; what waited is counted."""
    box = Box(1)
    box.inbox.put(audio(1))
    box.inbox.put(audio(2))
    async with anyio.create_task_group() as group:
        group.start_soon(box.inbox.room)
        await anyio.wait_all_tasks_blocked()
        box.inbox.close()
    box.inbox.put(audio(3))
    box.inbox.put_urgent(Hold())
    box.inbox.put_news(Played(response_id="r", ms=1))
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
            box.inbox.put(audio(at))
        await anyio.wait_all_tasks_blocked()
        box.inbox.put_end(End(), give=False)
    assert sorted(got) == list(range(20))


@pytest.mark.virtual
async def test_send_waits_for_room_and_an_interrupt_frees_it() -> None:
    """A sender behind a busy stage waits; when the frames it waits behind expire, it goes on at once."""
    async with Harness(Waits(100), capacity=4) as harness:
        with anyio.move_on_after(1):
            for at in range(10):
                await harness.send(audio(at, epoch=0))
        assert harness.statistics().processors["Waits"].waiting == 4
        async with anyio.create_task_group() as group:
            group.start_soon(harness.session.send, audio(10, epoch=0))
            await anyio.wait_all_tasks_blocked()
            before = anyio.current_time()
            harness.interrupt()
        assert anyio.current_time() == before
        assert harness.statistics().processors["Waits"].waiting == 0


async def test_offer_drops_the_oldest() -> None:
    """A live source never waits; what it loses is counted."""
    async with Harness(Loops(), capacity=5) as harness:
        for at in range(20):
            harness.session.offer(audio(at))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == list(range(15, 20))
    assert harness.statistics().overflow_dropped == 15


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


async def test_outputs_inherit_their_cause() -> None:
    """On every rung: media caused by a reply belongs to it, news never expires, and nothing gets younger."""

    class Both(Processor):
        def process(self, frame: Audio) -> Iterator[Text | Transcript]:
            yield Text(text="a")
            yield Text(text="b", epoch=LIVE if frame.epoch == LIVE else 7)
            yield Text(text="c", epoch=frame.epoch)
            yield Transcript(text="d")

    class BothLater(Processor):
        async def process(self, frame: Audio, out: Outlet[Text | Transcript]) -> None:
            assert out.epoch == (0 if frame.epoch == LIVE else frame.epoch)
            for each in Both().process(frame):
                await out.send(each)

    class BothInThread(Both):
        blocking = True

    for kind in (Both, BothLater, BothInThread):
        async with Harness(kind()) as harness:
            await harness.send(audio(epoch=0))
            await harness.end()
        assert [frame.epoch for frame in harness.frames] == [0, 0, 0, LIVE]
        async with Harness(kind()) as harness:
            await harness.send(audio())
            await harness.end()
        assert [frame.epoch for frame in harness.frames] == [LIVE] * 4


@pytest.mark.virtual
async def test_a_response_is_stamped_once() -> None:
    """However late its deltas, they belong to the epoch in which it began."""

    class Speaks(Processor):
        async def run(self, inbox: Inbox[Transcript | Interrupt], out: Outlet[Text]) -> None:
            reply = out.reply()
            assert reply.reply() is reply
            await reply.send(Text(text="in time"))
            await inbox.receive()
            assert (reply.epoch, reply.stale, out.epoch, out.stale) == (0, True, 1, False)
            await reply.send(Text(text="late"))
            await out.reply().send(Text(text="next"))

    async with Harness(Speaks()) as harness:
        await harness.settle()
        harness.interrupt()
        await harness.end()
    assert [(frame.text, frame.epoch) for frame in harness.of(Text)] == [("in time", 0), ("next", 1)]


@pytest.mark.virtual
async def test_respond_runs_beside_the_loop() -> None:
    """The loop goes on listening; the next interrupt ends the reply at once."""
    ended: list[float] = []

    class Speaks(Processor):
        async def process(self, frame: Transcript, out: Outlet[Text]) -> None:
            out.respond(self.answer, frame.text, 100)

        async def answer(self, reply: Outlet[Text], text: str, times: int) -> None:
            try:
                for _ in range(times):
                    await reply.send(Text(text=text))
                    await anyio.sleep(1)
            finally:
                ended.append(anyio.current_time())

    async with Harness(Speaks()) as harness:
        began = anyio.current_time()
        await harness.send(Transcript(text="a"))
        await anyio.sleep(2.5)
        assert harness.statistics().processors["Speaks"].replies == 1
        harness.interrupt()
        await harness.send(Transcript(text="b"))
        await anyio.sleep(1.5)
        harness.interrupt()
        await harness.end()
    assert [frame.text for frame in harness.of(Text)] == ["a", "a", "a", "b", "b"]
    assert ended == [pytest.approx(began + 2.5), pytest.approx(began + 4)]


async def test_a_failing_reply_is_its_processors_failure() -> None:
    """With the processor's name, and by its policy."""

    class Speaks(Processor):
        async def process(self, frame: Transcript, out: Outlet[Text]) -> None:
            out.respond(self.answer)

        async def answer(self, reply: Outlet[Text]) -> None:
            raise ValueError("lost for words")

    with pytest.raises(ValueError, match="lost for words") as caught:
        async with Harness(Speaks()) as harness:
            await harness.send(Transcript(text="a"))
            await harness.end()
    assert "in processor 'Speaks'" in caught.value.__notes__
    async with Harness(Speaks().options(on_error="drop")) as harness:
        await harness.send(Transcript(text="a"))
        await harness.end()
    assert harness.statistics().processors["Speaks"].error_dropped == 1


async def test_frames_of_ones_own_travel_as_they_say() -> None:
    """A class that travels urgently or upstream does so without anything else being told."""

    class Mute(Frame, frozen=True, kw_only=True):
        delivery = Delivery.URGENT

    class Level(Frame, frozen=True, kw_only=True):
        delivery = Delivery.UPSTREAM
        dbfs: float

    class Measures(Processor):
        def process(self, frame: Audio | Mute) -> Iterator[Level]:
            yield Level(dbfs=-3 if isinstance(frame, Audio) else -99)

    class Hears(Processor):
        def __init__(self) -> None:
            self.levels: list[float] = []

        def process(self, frame: Level | Audio) -> Iterator[Audio]:
            if isinstance(frame, Audio):
                yield frame
            else:
                self.levels.append(frame.dbfs)

    hears = Hears()
    async with Harness(hears, Waits(), Measures()) as harness:
        await harness.send(audio())
        await harness.settle()
        await harness.send(Mute())
        await harness.end()
    assert hears.levels == [-3, -99]


async def test_called_off_sends_keep_the_bound() -> None:
    """What was sent is in, though its sender no longer waits; its next send waits before it puts anything in."""
    async with Harness(Blocks(), capacity=4) as harness:
        for at in range(100):
            with anyio.move_on_after(0):
                await harness.send(audio(at))
        each = harness.statistics().processors["Blocks"]
        assert each.waiting <= 6
        assert each.overflow_dropped == 0
        await harness.session.cancel()


@pytest.mark.virtual
async def test_an_interrupted_send_drops_nobodys_frames() -> None:
    """Work that is called off while it waits for room leaves the live frames of others where they are."""
    for _ in range(20):
        async with Harness(Branch(Waits(), Plain()), Waits(0.1), capacity=2) as harness:
            async with anyio.create_task_group() as group:
                group.start_soon(harness.send, *(audio(at, epoch=0) for at in range(4)))
                group.start_soon(harness.send, *(audio(100 + at) for at in range(6)))
                await anyio.sleep(0.15)
                harness.interrupt()
            await harness.end()
        live = sorted(index(frame) for frame in harness.of(Audio) if frame.epoch == LIVE)
        assert live == sorted([*range(100, 106)] * 2)
        assert harness.statistics().overflow_dropped == 0


class Blocks(Processor):
    async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
        await anyio.sleep_forever()


async def test_no_frame_belongs_to_an_epoch_to_come() -> None:
    """It would survive the interrupts until then."""
    async with Harness(Plain()) as harness:
        with pytest.raises(FrameError, match="belongs to epoch 9, but the session is in epoch 0"):
            await harness.send(Text(text="a", epoch=9))

    class Early(Processor):
        async def process(self, frame: Audio, out: Outlet[Text]) -> None:
            await out.send(Text(text="a", epoch=9))

    with pytest.raises(FrameError, match="belongs to epoch 9"):
        async with Harness(Early()) as harness:
            await harness.send(audio())
            await harness.end()


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


@pytest.mark.virtual
async def test_nothing_urgent_pays_debts() -> None:
    """After a send that was called off, an interrupt or a hold goes out at once, from anybody."""
    async with Harness(Blocks(), capacity=1) as harness:
        with anyio.move_on_after(1):
            await harness.send(*(audio(at) for at in range(9)))
        before = anyio.current_time()
        await harness.send(Hold(), Interrupt(), Played(response_id="r", ms=1))
        assert anyio.current_time() == before
        await harness.session.cancel()


async def test_offering_from_inside_a_sweep_spares_what_is_sent() -> None:
    """The sweep's own frames wait for room as its sender asked; only the offered one may push out others."""

    class Offers(Processor):
        harness: Harness

        def process(self, frame: Audio) -> Iterator[Audio]:
            if index(frame) == 0:
                for at in range(10, 20):
                    yield audio(at)
                self.harness.session.offer(audio(99))

    offers = Offers()
    async with Harness(offers, Waits(), capacity=6) as harness:
        offers.harness = harness
        await harness.send(audio(0))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == list(range(10, 20))


async def test_what_waits_its_turn_is_what_it_is() -> None:
    """Unfused, a transcript that waits to pass a processor by is news, and media is dropped before it."""
    async with Harness(Plain(), fused=False, capacity=4) as harness:
        harness.session.offer(Transcript(text="words"))
        for at in range(8):
            harness.session.offer(audio(at))
        await harness.end()
    assert len(harness.of(Transcript)) == 1
    assert len(harness.of(Audio)) == 3
