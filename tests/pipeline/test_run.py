"""Runs: sweeps are never re-entered, interrupts are one step, and nothing goes on for ever."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from bargein.pipeline import (
    Audio,
    EmitLimitError,
    Hop,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    Text,
    Transcript,
)
from bargein.pipeline.testing import Harness

from .kit import BargesIn, Plain, Resets, Sink, Waits, audio, index


@pytest.mark.virtual  # two hundred thousand frames; it waits for nothing, so the clock changes nothing
async def test_endless_emission_is_a_flood() -> None:
    """A generator that never ends is stopped, whether its frames lie in an inbox or leave the graph."""

    class Endless(Processor):
        def process(self, frame: Audio) -> Iterator[Audio]:
            while True:
                yield frame

    for after in (Waits(), Plain()):
        with pytest.raises(EmitLimitError, match="caused more than 100,000 others") as caught:
            async with Pipeline(Endless(), after).session() as session:
                await session.send(audio())
        assert any("'Endless'" in note or "'Plain'" in note for note in caught.value.__notes__)


@pytest.mark.virtual
async def test_an_interrupt_from_inside_a_sweep_waits_for_its_end() -> None:
    """A tap or a function that interrupts while processors are at work re-enters none of them."""
    running = False

    class Checks(Processor):
        def process(self, frame: Audio | Interrupt) -> Iterator[Audio]:
            nonlocal running
            assert not running, "re-entered"
            running = True
            if isinstance(frame, Audio):
                yield frame
            running = False

    sink = Resets()

    async with Harness(Checks(), interrupting := _Interrupting(), sink) as harness:
        interrupting.harness = harness
        await harness.send(audio(0))
        assert harness.session.epoch == 1
        assert [type(frame).__name__ for frame in sink.seen] == ["Audio", "Interrupt"]


class _Interrupting(Processor):
    harness: Harness

    def process(self, frame: Audio) -> Iterator[Audio]:
        self.harness.interrupt()
        yield frame


@pytest.mark.virtual
async def test_barging_in_twice_for_one_cause_is_one_step() -> None:
    """The processor's interrupts count once a response; the application's count always."""
    async with Harness(BargesIn(), Plain()) as harness:
        await harness.send(Transcript(text="a"))
        assert harness.session.epoch == 0
        await harness.send(audio(0, epoch=0), Transcript(text="b"), Transcript(text="c"))
        assert harness.session.epoch == 1
        assert harness.interrupt() == 2
        assert harness.interrupt() == 3
    assert harness.statistics().coalesced == 2


async def test_answering_each_other_for_ever_is_a_flood() -> None:
    """One upstream, one down, without end: the session fails, and the caller gets control back."""

    class Asks(Processor):
        def process(self, frame: Audio | Played) -> Iterator[Text]:
            yield Text(text="?")

    class Tells(Processor):
        def process(self, frame: Text) -> Iterator[Played]:
            yield Played(response_id="r", ms=1)

    with pytest.raises(EmitLimitError, match="do processors answer each other for ever"):
        async with Pipeline(Asks(), Tells()).session() as session:
            await session.send(audio())


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
    """An observer that raises is logged and removed; the session goes on."""
    sink = Sink()

    def broken(_: Hop) -> None:
        raise RuntimeError("oops")

    async with Pipeline(Plain(), sink).session() as session:
        with session.tap(broken):
            await session.send(audio())
            await session.send(audio())
    assert len(sink.seen) == 2
    assert len([record for record in caplog.records if "an observer raised" in record.message]) == 1


async def test_ending_from_inside_a_sweep_keeps_what_is_under_way() -> None:
    """A processor that hangs up through the session still gives what it was about to give."""
    for fused in (True, False):
        hangs_up = HangsUpItself()
        async with Harness(hangs_up, fused=fused) as harness:
            hangs_up.harness = harness
            await harness.send(audio(1))
            await harness.settle()
        assert [index(frame) for frame in harness.of(Audio)] == [1, 1]


class HangsUpItself(Processor):
    harness: Harness

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame
        self.harness.session.end()
        yield frame


async def test_sending_from_inside_a_sweep_waits_for_its_end() -> None:
    """An `offer` made while processors are at work is delivered after them, and re-enters none."""
    order: list[str] = []

    class Echoes(Processor):
        harness: Harness

        def process(self, frame: Text) -> Iterator[Text]:
            order.append(f"begin {frame.text}")
            if frame.text == "a":
                self.harness.session.offer(Text(text="b"))
            yield frame
            order.append(f"end {frame.text}")

    echoes = Echoes()
    async with Harness(echoes) as harness:
        echoes.harness = harness
        await harness.send(Text(text="a"))
    assert order == ["begin a", "end a", "begin b", "end b"]


@pytest.mark.virtual
async def test_news_is_heard_after_the_end() -> None:
    """Who keeps what was heard hears the last of it, though the end has passed it long before."""

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
    """As many as in one sweep."""
    for fused in (True, False):
        seen: list[Hop] = []
        async with Pipeline(Plain(), Plain(), Sink()).session(fused=fused) as session:
            with session.tap(seen.append):
                for at in range(10):
                    await session.send(audio(at))
                await session.drained()
        assert len(seen) == 30
