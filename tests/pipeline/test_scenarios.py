"""The nine ways in which a stale word reaches the speaker, or an interrupt comes late. Here: none, and at once.

Each is one row of what users of such engines meet today. All run in virtual time, so "at once" means the same instant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import pytest

from bargein.pipeline import (
    Audio,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Processor,
    ResponseEnded,
    Resume,
    SpeechStarted,
    Text,
    ToolCall,
    Transcript,
)
from bargein.pipeline.testing import Harness

from .kit import Plain, Waits, audio, index

pytestmark = pytest.mark.virtual


class Records(Processor):
    """Waits on each frame, and notes when the interrupt came."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds
        self.interrupted: list[tuple[float, int]] = []
        self.got: list[Audio] = []

    async def process(self, frame: Audio | Interrupt, out: Outlet[Audio]) -> None:
        if isinstance(frame, Interrupt):
            self.interrupted.append((anyio.current_time(), frame.epoch))
            return
        self.got.append(frame)
        await anyio.sleep(self.seconds)
        await out.send(frame)


def stale(harness: Harness) -> list[Audio]:
    """Audio that came out after the first interrupt and belongs to an epoch before it."""
    frames = harness.frames
    first = next((at for at, frame in enumerate(frames) if isinstance(frame, Interrupt)), len(frames))
    epoch = frames[first].epoch if first < len(frames) else 0
    return [frame for frame in frames[first:] if isinstance(frame, Audio) and frame.epoch < epoch]


async def test_1_a_settled_backlog() -> None:
    """Ten waiting stages with 50 frames each: all have the interrupt in the same instant, none plays a stale frame."""
    stages = [Records(seconds=1) for _ in range(10)]
    async with Harness(*stages) as harness:
        with anyio.move_on_after(600):
            for at in range(2000):
                await harness.send(audio(at, epoch=0))
        before = anyio.current_time()
        number = harness.interrupt()
        await harness.settle()
        assert all(stage.interrupted == [(before, number)] for stage in stages)
        await anyio.sleep(1000)
        assert stale(harness) == []
        assert sum(each.waiting for each in harness.statistics().processors.values()) == 0


async def test_2_an_interrupt_while_input_is_being_processed() -> None:
    """A stage that is busy with live input gets it when it is done; those behind it do not wait for that."""
    busy, last = Records(seconds=0.62), Records()
    async with Harness(busy, last) as harness:
        await harness.send(*(audio(at) for at in range(3)))
        await harness.settle()
        before = anyio.current_time()
        number = harness.interrupt()
        await harness.settle()
        assert last.interrupted == [(before, number)]
        await harness.end()
    assert busy.interrupted[0][0] == pytest.approx(before + 0.62)
    assert [index(frame) for frame in harness.of(Audio)] == [0, 1, 2], "the user's own sound is never flushed"


async def test_3_a_stage_that_swallows_cancellation() -> None:
    """It delays nobody, and what it sends afterwards goes nowhere."""

    class SwallowsOnce(Processor):
        async def process(self, frame: Audio, out: Outlet[Audio]) -> None:
            try:
                await anyio.sleep(10)
            except BaseException:
                await out.send(frame)

    last = Records()
    async with Harness(SwallowsOnce(), last) as harness:
        await harness.send(audio(0, epoch=0))
        await harness.settle()
        before = anyio.current_time()
        number = harness.interrupt()
        await harness.settle()
        assert last.interrupted == [(before, number)]
    assert (last.got, stale(harness)) == ([], [])


async def test_4_frames_and_the_interrupt_in_one_batch() -> None:
    """Fifty frames and the interrupt put in without a pause between: none of the fifty comes out."""
    async with Harness(Waits(), Plain(), Waits()) as harness:
        for at in range(50):
            harness.session.offer(audio(at, epoch=0))
        harness.interrupt()
        await harness.end()
    assert harness.of(Audio) == []
    assert harness.statistics().stale_dropped == 50


async def test_5_a_background_reader_keeps_pushing() -> None:
    """A reader that knows nothing of interrupts goes on sending its response: nothing of it passes."""

    class Reads(Processor):
        async def run(self, inbox: Inbox[Transcript], out: Outlet[Audio]) -> None:
            await inbox.receive()
            reply = out.reply()
            for at in range(100):
                await reply.send(audio(at))
                await anyio.sleep(0.02)

    async with Harness(Reads(), Waits()) as harness:
        await harness.send(Transcript(text="go"))
        await anyio.sleep(0.501)
        harness.interrupt()
        await harness.end()
    assert stale(harness) == []
    assert len(harness.of(Audio)) == 26
    assert harness.statistics().processors["Reads"].stale_dropped == 74


async def test_6_a_second_of_deltas_and_the_interrupt_in_one_batch() -> None:
    """A provider sends a second of sound and the interrupt in one read: not a millisecond plays."""

    class Bursts(Processor):
        async def run(self, inbox: Inbox[Transcript], out: Outlet[Audio | Interrupt]) -> None:
            await inbox.receive()
            reply = out.reply()
            for at in range(50):
                reply.offer(audio(at))
            out.offer(Interrupt())

    async with Harness(Bursts(), Waits(), Waits()) as harness:
        await harness.send(Transcript(text="go"))
        await harness.end()
    assert harness.of(Audio) == []
    assert harness.session.epoch == 1


class Provider(Processor):
    """Two responses; the deltas of the first go on coming while the second is under way."""

    async def run(self, inbox: Inbox[Transcript], out: Outlet[Audio | ResponseEnded | Interrupt]) -> None:
        await inbox.receive()
        first = out.reply()
        await first.send(audio(0))
        await inbox.receive()
        await out.send(Interrupt(reason="server"))
        second = out.reply()
        for at in range(30):  # 600 ms
            await first.send(audio(100 + at))
            await second.send(audio(200 + at))
        await first.send(Interrupt(reason="the first one's cancellation, late"))
        await second.send(audio(299))
        await out.send(ResponseEnded(response_id="first", outcome="interrupted"))


async def test_7_late_deltas_of_a_cancelled_response() -> None:
    """They are dropped by their response's epoch, and none of the next response's is lost."""
    async with Harness(Provider(), Waits(), Plain()) as harness:
        await harness.send(Transcript(text="one"))
        await harness.settle()
        await harness.send(Transcript(text="two"))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == [0, *range(200, 230), 299]
    assert harness.session.epoch == 1, "a late interrupt about the first response does not end the second"
    assert len(harness.of(ResponseEnded)) == 1


async def test_8_an_emitter_behind_a_full_queue() -> None:
    """Local detection interrupts although the way down is full: a live source is never blocked."""

    class Detects(Processor):
        def process(self, frame: Audio) -> Iterator[Audio | Interrupt]:
            if index(frame) == 100:
                yield Interrupt()
            yield frame

    class Speaks(Processor):
        async def run(self, inbox: Inbox[Audio | Interrupt], out: Outlet[Audio]) -> None:
            reply = out.reply()
            for at in range(1000, 2000):
                await reply.send(audio(at))

    slow = Records(seconds=0.5)
    times: dict[str, float] = {}
    async with Harness(Detects(), Speaks(), slow) as harness:
        for at in range(101):
            await anyio.sleep(0.02)
            harness.session.offer(audio(at))
        times["spoken"] = anyio.current_time()
        await harness.settle()
        assert slow.interrupted == [(times["spoken"], 1)]
        await harness.session.cancel()
    assert stale(harness) == []


async def test_9_cancel_after_a_lost_end() -> None:
    """A processor that loses the end cannot keep the session: cancel finishes in the same instant."""

    class LosesTheEnd(Processor):
        async def run(self, inbox: Inbox[Audio], out: Outlet[Audio]) -> None:
            async for frame in inbox:
                await out.send(frame)
            await anyio.sleep_forever()

    async with Pipeline(Waits(), LosesTheEnd(), Waits()).session() as session:
        await session.send(audio())
        session.end()
        await anyio.sleep(15)
        before = anyio.current_time()
        await session.cancel()
        assert anyio.current_time() == before
    assert session.statistics().tasks == 0


@pytest.mark.parametrize("make", [lambda: Plain(), lambda: Waits(), lambda: Waits(0.03)])
async def test_interrupt_keeps_live_frames(make: Callable[[], Processor]) -> None:
    """Transcripts, tool calls, boundaries and the user's own sound pass. Only the reply is flushed."""
    kept = [Transcript(text="late", final=True), ToolCall(call_id="c", name="n"), SpeechStarted(), audio(7)]
    async with Harness(make(), Waits(0.01), Plain()) as harness:
        for frame in kept:
            harness.session.offer(frame)
        harness.session.offer(audio(1, epoch=0))
        harness.session.offer(Text(text="unsaid", epoch=0))
        await harness.settle()
        harness.interrupt()
        await harness.end()
    for frame in kept:
        assert harness.frames.count(frame) == 1
    assert stale(harness) == []
    assert harness.statistics().stale_dropped + len(harness.frames) == len(kept) + 2 + 1  # the interrupt came out too


async def test_a_tentative_barge_in() -> None:
    """`Hold` overtakes everything, keeps everything, and `Resume` goes on; an interrupt instead ends it."""

    class Paces(Processor):
        async def run(self, inbox: Inbox[Audio | Hold | Resume | Interrupt], out: Outlet[Audio]) -> None:
            kept: list[Audio] = []
            held = False
            async for frame in inbox:
                if isinstance(frame, Audio):
                    kept.append(frame)
                elif isinstance(frame, Interrupt):
                    held, kept = False, []
                else:
                    held = isinstance(frame, Hold)
                while kept and not held:
                    if (urgent := await inbox.urgent(0.02)) is not None:
                        held = isinstance(urgent, Hold)
                        continue
                    await out.send(kept.pop(0))

    class Coughs(Processor):
        def process(self, frame: SpeechStarted | Transcript) -> Iterator[Hold | Resume]:
            yield Hold() if isinstance(frame, SpeechStarted) else Resume()

    async with Harness(Coughs(), Waits(), Paces()) as harness:
        await harness.send(*(audio(at) for at in range(20)))
        await anyio.sleep(0.101)
        await harness.send(SpeechStarted())
        await anyio.sleep(1)
        silent = len(harness.of(Audio))
        assert silent == 5
        await harness.send(Transcript(text="(cough)"))
        await harness.end()
    assert [index(frame) for frame in harness.of(Audio)] == list(range(20))
