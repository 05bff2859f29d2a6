"""Random graphs, random frames, random interrupts, random scheduling: the rules hold in all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bargein.pipeline import LIVE, Branch, End, Frame, Graph, Inbox, Interrupt, Outlet, Pipeline, Processor
from bargein.pipeline.testing import Harness, virtual_asyncio, virtual_trio

Spec = Any
"""A processor ("plain", ...), ("line", spec, ...) or ("fork", spec, ...)."""


class Numbered(Frame, frozen=True, kw_only=True):
    """A frame that knows its number and the way it came."""

    number: int
    way: tuple[int, ...] = ()


class Watched:
    """Checks what every processor may rely on, from inside."""

    count = 0

    def __init__(self) -> None:
        self.floor = 0
        self.ends = 0
        self.faults: list[str] = []
        self.sign = Watched.count = Watched.count + 1

    def see(self, frame: Frame) -> bool:
        """Whether the frame is data; notes what must not be."""
        if isinstance(frame, End):
            self.ends += 1
        elif isinstance(frame, Interrupt):
            if frame.epoch <= self.floor:
                self.faults.append(f"interrupt {frame.epoch} after {self.floor}")
            self.floor = frame.epoch
        else:
            if frame.epoch < self.floor:
                self.faults.append(f"{frame} after interrupt {self.floor}")
            if self.ends:
                self.faults.append(f"{frame} after the end")
            return True
        return False

    def mark(self, frame: Numbered) -> Numbered:
        return Numbered(number=frame.number, way=(*frame.way, self.sign))  # no epoch: it is inherited


class PlainStep(Watched, Processor):
    def process(self, frame: Numbered | Interrupt | End) -> Iterator[Numbered]:
        if self.see(frame):
            assert isinstance(frame, Numbered)
            yield self.mark(frame)


class DoubleStep(Watched, Processor):
    def process(self, frame: Numbered | Interrupt | End) -> Iterator[Numbered]:
        if self.see(frame):
            assert isinstance(frame, Numbered)
            yield self.mark(frame)
            yield self.mark(frame)


class BargeStep(Watched, Processor):
    """Yields an interrupt with every fifth frame, before it and behind it."""

    def process(self, frame: Numbered | Interrupt | End) -> Iterator[Numbered | Interrupt]:
        if self.see(frame):
            assert isinstance(frame, Numbered)
            if frame.number % 5 == 4:
                yield Interrupt()
            yield self.mark(frame)
            if frame.number % 5 == 4:
                yield Interrupt()


class WaitStep(Watched, Processor):
    seconds = 0.0

    async def process(self, frame: Numbered | Interrupt | End, out: Outlet[Numbered]) -> None:
        if self.see(frame):
            assert isinstance(frame, Numbered)
            if self.seconds:
                await anyio.sleep(self.seconds * (frame.number % 3))
            await out.send(self.mark(frame))


class SleepStep(WaitStep):
    seconds = 0.01


class LoopStep(Watched, Processor):
    async def run(self, inbox: Inbox[Numbered | Interrupt | End], out: Outlet[Numbered]) -> None:
        async for frame in inbox:
            if self.see(frame):
                assert isinstance(frame, Numbered)
                await out.send(Numbered(number=frame.number, way=(*frame.way, self.sign), epoch=frame.epoch))


class ThreadStep(Watched, Processor):
    blocking = True

    def process(self, frame: Numbered | Interrupt | End) -> Iterator[Numbered]:
        if self.see(frame):
            assert isinstance(frame, Numbered)
            yield self.mark(frame)


KINDS: dict[str, Callable[[], Processor]] = {
    "plain": PlainStep,
    "double": DoubleStep,
    "barge": BargeStep,
    "wait": WaitStep,
    "sleep": SleepStep,
    "loop": LoopStep,
    "thread": ThreadStep,
}


def specs(*kinds: str) -> st.SearchStrategy[Spec]:
    return st.recursive(
        st.sampled_from(kinds),
        lambda inner: (
            st.tuples(st.sampled_from(["line", "fork"]), inner, inner) | st.tuples(st.just("line"), inner, inner, inner)
        ),
        max_leaves=8,
    ).filter(lambda spec: copies(spec) <= 16)


def build(spec: Spec, made: list[Watched]) -> Processor:
    if isinstance(spec, str):
        processor = KINDS[spec]()
        if isinstance(processor, Watched):
            made.append(processor)
        return processor
    parts = [build(part, made) for part in spec[1:]]
    return Pipeline(*parts) if spec[0] == "line" else Branch(*parts)


def copies(spec: Spec) -> int:
    """How many times a frame comes out that went in once."""
    if isinstance(spec, str):
        return 2 if spec == "double" else 1
    inside = [copies(part) for part in spec[1:]]
    if spec[0] == "fork":
        return sum(inside)
    product = 1
    for each in inside:
        product *= each
    return product


actions = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 6)),
        st.tuples(st.just("reply"), st.integers(1, 6)),
        st.tuples(st.just("interrupt"), st.just(0)),
        st.tuples(st.just("sleep"), st.integers(0, 3)),
        st.tuples(st.just("yield"), st.integers(1, 3)),
    ),
    max_size=25,
)


async def play(
    spec: Spec, script: list[tuple[str, int]], capacity: int, fused: bool
) -> tuple[Harness, list[Watched], int]:
    made: list[Watched] = []
    number = 0
    sent_live = 0
    async with Harness(build(spec, made), capacity=capacity, fused=fused) as harness:
        for what, count in script:
            if what == "sleep":
                await anyio.sleep(count * 0.007)
            elif what == "interrupt":
                harness.interrupt()
            else:
                for _ in range(count):
                    if what == "yield":
                        await anyio.lowlevel.checkpoint()
                    elif what == "live":
                        await harness.send(Numbered(number=number))
                        sent_live += 1
                    else:
                        await harness.send(Numbered(number=number, epoch=harness.session.epoch))
                    number += 1
        await harness.end()
    return harness, made, sent_live


def check(harness: Harness, made: list[Watched], spec: Spec, sent_live: int) -> None:
    assert [fault for each in made for fault in each.faults] == []
    assert {each.ends for each in made} <= {1}, "the end arrives once"
    floor = 0
    last: dict[tuple[int, ...], int] = {}
    for frame in harness.frames:
        if isinstance(frame, Interrupt):
            assert frame.epoch > floor
            floor = frame.epoch
        elif isinstance(frame, Numbered):
            assert frame.epoch >= floor, f"{frame} came out after interrupt {floor}"
            assert last.get(frame.way, -1) <= frame.number, f"{frame} came out after {last[frame.way]}"
            last[frame.way] = frame.number
    live = Counter(frame.number for frame in harness.of(Numbered) if frame.epoch == LIVE)
    assert len(live) == sent_live, "no live frame is lost"
    assert set(live.values()) <= {copies(spec)}
    statistics = harness.statistics()
    assert statistics.tasks == 0
    assert statistics.overflow_dropped == 0
    assert all(each.waiting == 0 for each in statistics.processors.values())


BACKENDS = {"trio": virtual_trio, "asyncio": virtual_asyncio}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False)
@given(spec=specs(*KINDS), script=actions, capacity=st.integers(1, 8), fused=st.booleans())
def test_the_rules_hold_in_any_graph(
    backend: str, spec: Spec, script: list[tuple[str, int]], capacity: int, fused: bool
) -> None:
    """No stale frame after the interrupt, no live one lost, order kept, one end, and every session ends."""
    name, options = BACKENDS[backend]()
    harness, made, sent_live = anyio.run(play, spec, script, capacity, fused, backend=name, backend_options=options)
    check(harness, made, spec, sent_live)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    parts=st.lists(specs("plain", "double") | st.just("barge"), min_size=2, max_size=5),
    script=actions,
)
def test_fused_and_unfused_graphs_send_the_same(parts: list[Spec], script: list[tuple[str, int]]) -> None:
    """The same graph sends the same frames either way, in the same order for each way through it.

    No branch interrupts beside another, because which of two branches comes first is not defined.
    """
    spec = ("line", *parts)

    async def both() -> list[dict[tuple[int, ...], list[tuple[int, int]]]]:
        results = []
        for fused in (True, False):
            Watched.count = 0
            made: list[Watched] = []
            async with Harness(build(spec, made), fused=fused) as harness:
                number = 0
                for what, count in script:
                    if what == "interrupt":
                        harness.interrupt()
                    for _ in range(count):
                        if what in ("live", "reply"):
                            epoch = LIVE if what == "live" else harness.session.epoch
                            await harness.send(Numbered(number=number, epoch=epoch))
                            number += 1
                            await harness.settle()
                    await harness.settle()
                await harness.end()
            ways: dict[tuple[int, ...], list[tuple[int, int]]] = {}
            for frame in harness.of(Numbered):
                ways.setdefault(frame.way, []).append((frame.number, frame.epoch))
            results.append(ways)
        return results

    name, options = virtual_trio()
    fused, unfused = anyio.run(both, backend=name, backend_options=options)
    assert fused == unfused


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spec=specs("plain", "wait", "sleep", "loop", "thread"),
    script=actions,
    how=st.sampled_from(["cancel", "error", "outer"]),
)
def test_every_session_ends_however_it_is_left(spec: Spec, script: list[tuple[str, int]], how: str) -> None:
    """Cancelled, left by an exception, or cancelled from around: nothing runs on."""

    async def leave() -> Graph:
        graph = Pipeline(build(spec, []), inputs=Frame)
        session = graph.session(capacity=2)
        with anyio.move_on_after(0.02):
            try:
                async with session:
                    for what, count in script:
                        for at in range(count):
                            if what == "live":
                                session.offer(Numbered(number=at))
                            elif what == "yield":
                                await anyio.lowlevel.checkpoint()
                    if how == "error":
                        raise KeyError
                    if how == "outer":
                        await anyio.sleep_forever()
                    await session.cancel()
            except KeyError:
                pass
        assert session.statistics().tasks == 0
        return graph

    name, options = virtual_trio()
    anyio.run(leave, backend=name, backend_options=options)
