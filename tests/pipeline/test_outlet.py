"""Outlets: room, epochs, responses and inheritance."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bargein.pipeline import (
    LIVE,
    Audio,
    Branch,
    Delivery,
    Frame,
    FrameError,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    Text,
    Transcript,
)
from bargein.pipeline.testing import Harness

from .kit import Loops, Plain, Waits, audio, index


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


async def test_outputs_inherit_their_cause() -> None:
    """Media caused by a reply belongs to that reply, events never expire, and no output gets a newer epoch. This holds
    for every kind."""

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
    """The deltas of a response belong to the epoch in which it began, however late they come."""

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
    """A failing reply is handled by its processor's policy and names the processor."""

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


async def test_own_urgent_and_upstream_classes() -> None:
    """The attribute `delivery` of a class is enough."""

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
    """A frame of a future epoch is refused: it would survive the interrupts until then."""
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
async def test_urgent_frames_never_wait_for_room() -> None:
    """After a cancelled send, an interrupt or a hold of any processor goes out at once."""
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
