"""Graphs: chains, branches, merges, nesting, switches, and the link check."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from bargein.pipeline import (
    Audio,
    AudioFormat,
    Branch,
    End,
    Frame,
    Graph,
    LinkError,
    Pass,
    Pipeline,
    Played,
    Processor,
    Switch,
    Text,
    Transcript,
    Video,
)
from bargein.pipeline.testing import Harness, Scripted

from .kit import VIDEO, Loops, Plain, Sink, Tags, TagsText, Waits, audio, index, numbers, sent


class Ends(Processor):
    """Counts the ends it sees."""

    def __init__(self) -> None:
        self.ends = 0

    def process(self, frame: Frame | End) -> Iterator[Frame]:
        if isinstance(frame, End):
            self.ends += 1
        else:
            yield frame


async def test_branches_get_the_same_frames_and_merge() -> None:
    """Each branch gets what it takes; behind them everything arrives once."""
    ends = Ends()
    got = await sent(Pipeline(Plain(), Branch(Tags(10), Tags(20), TagsText()), ends), audio(1), Text(text="a"))
    assert sorted(numbers(got)) == [11, 21]
    assert [frame.text for frame in got if isinstance(frame, Text)] == ["A"]
    assert ends.ends == 1


async def test_untaken_frame_passes_a_branch_once() -> None:
    """A frame that bypasses several branches is not multiplied."""
    got = await sent(Pipeline(Branch(Tags(10), TagsText()), Plain()), VIDEO, audio(1))
    assert [type(frame) for frame in got] == [Video, Audio]


async def test_a_dry_branch_is_a_pass() -> None:
    """`Pass()` beside a processor keeps the original too."""
    got = await sent(Branch(Pass(), Tags(10)), audio(1))
    assert sorted(numbers(got)) == [1, 11]


async def test_waiting_branches_end_once() -> None:
    """`End` passes a merge when all branches have ended, not before."""
    ends = Ends()
    got = await sent(Pipeline(Branch(Waits(), Loops(), Plain()), ends, Waits()), *(audio(at) for at in range(10)))
    assert sorted(numbers(got)) == sorted(list(range(10)) * 3)
    assert ends.ends == 1


async def test_order_within_a_branch_is_kept() -> None:
    """The frames of each branch stay in order, independent of the other branches."""
    got = await sent(Branch(Pipeline(Waits(), Tags(100)), Pipeline(Loops(), Tags(200))), *(audio(i) for i in range(50)))
    for base in (100, 200):
        assert [n for n in numbers(got) if base <= n < base + 100] == list(range(base, base + 50))


async def test_pipelines_nest() -> None:
    """A pipeline is a processor; named ones prefix the names inside."""
    inner = Pipeline(Tags(1), Pipeline(Tags(10), name="deep"), name="inner")
    outer = Pipeline(Tags(100), inner, Tags(1000))
    assert numbers(await sent(outer, audio())) == [1111]
    assert [node.name for node in outer.plan.processors] == ["Tags", "inner/Tags", "inner/deep/Tags", "Tags-2"]


async def test_links_make_any_graph() -> None:
    """A diamond with a short cut, linked by hand."""
    a, b, c, d = Tags(1), Tags(10), Tags(100), Tags(1000)
    graph = Graph().link(a, b, d).link(a, c, d)
    assert sorted(numbers(await sent(graph, audio()))) == [1011, 1101]
    with pytest.raises(LinkError, match="used twice"):
        Pipeline(graph, b)


async def test_processed_frames_do_not_come_raw_besides() -> None:
    """A taker behind another taker gets the frame only from that one."""
    sink = Sink()
    pipeline = Pipeline(Plain(), Branch(Tags(10), TagsText()), sink, inputs=Text)
    async with pipeline.session() as session:
        await session.send(audio(1))
    assert [index(frame) for frame in sink.seen] == [11]


async def test_long_chains_run() -> None:
    """Longer than Python's recursion limit, in order."""
    assert numbers(await sent(Pipeline(*(Plain() for _ in range(1200))), audio(1), audio(2))) == [1, 2]


def test_using_a_processor_twice_is_found() -> None:
    """Within a pipeline, and across nested ones."""
    plain = Plain()
    with pytest.raises(LinkError, match="<Plain> is used twice in Pipeline"):
        Pipeline(plain, plain)
    with pytest.raises(LinkError, match="is used twice"):
        Pipeline(plain, Pipeline(plain))


def test_empty_graphs_are_found() -> None:
    """The errors say what to do."""
    with pytest.raises(LinkError, match=r"has no processors; .*use Pass\(\)"):
        _ = Pipeline().plan


async def test_sources_in_the_middle() -> None:
    """A source that stands behind others lets their frames pass and adds its own."""
    source = Scripted(audio(7), Played(response_id="r", ms=1))
    got = await sent(Pipeline(Plain(), source, Waits()), audio(1))
    assert sorted(numbers(got)) == [1, 7]


def test_contract_of_a_graph() -> None:
    """It says what the heads take and what may leave."""
    contract = Pipeline(Plain(), Branch(Waits(), Sink())).contract
    assert contract.takes == {Audio}
    assert contract.gives == {Audio}


async def test_passing_by_never_multiplies() -> None:
    """Order holds unfused, behind two hundred fused steps, and in a switch whose branch forks."""
    text = Text(text="a")

    def fork() -> Branch:
        return Branch(TagsText(), Plain(), Plain())

    for graph in (
        Pipeline(fork(), fork()),
        Pipeline(*(Plain() for _ in range(250)), fork(), Plain()),
        Switch("a", a=fork(), b=Plain()),
    ):
        for fused in (True, False):
            async with Harness(graph, fused=fused) as harness:
                await harness.send(text, VIDEO)
                await harness.end()
            assert sorted(type(frame).__name__ for frame in harness.frames) == ["Text", "Video"]
            graph = Pipeline(fork(), fork())


async def test_unfused_frames_wait_their_turn() -> None:
    """A sync processor with its own inbox lets nothing overtake it, not even what it does not take."""
    async with Harness(Plain(), Plain(), TagsText(), Plain(), fused=False) as harness:
        frames: list[Frame] = [audio(1), Text(text="a"), VIDEO, audio(2), Transcript(text="b"), audio(3)]
        await harness.send(*frames)
        await harness.end()
    assert [type(frame) for frame in harness.frames] == [type(frame) for frame in frames]
    assert harness.statistics().processors["TagsText"].frames_in == 1


def test_nesting_errors() -> None:
    """An empty pipeline and a link that comes too late are errors."""
    with pytest.raises(LinkError, match=r"has no processors; .*use Pass\(\)"):
        Pipeline(Plain(), Pipeline(), Sink())
    inner = Graph(a := Plain())
    Pipeline(inner, Sink())
    with pytest.raises(LinkError, match="has become a part of"):
        inner.link(a, Plain())


def test_names_are_unique() -> None:
    """Names are unique even if the author gave the same name twice."""
    graph = Graph(*(Plain().options(name=name) for name in ("X-2", "X", "X", "X")))
    assert [node.name for node in graph.plan.processors] == ["X-2", "X", "X-3", "X-4"]


class _Particular(Processor):
    """Takes sound of 8 kHz only, and brings what makes it so."""

    audio_in = AudioFormat(8000, 1)

    def adapters(self) -> tuple[Processor, ...]:
        return (_Halve(),)

    def process(self, frame: Audio) -> Iterator[Audio]:
        assert frame.rate == 8000
        yield frame


class _Halve(Processor):
    """Every second sample."""

    audio_out = AudioFormat(8000, 1)

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield Audio(frame.samples[::2], frame.rate // 2) if frame.rate == 16_000 else frame


@pytest.mark.parametrize(
    "build",
    [
        lambda: Pipeline(_Particular()),
        lambda: Pipeline(Pipeline(_Particular(), name="inner"), Pass()),
        lambda: Graph().link(Pass(), _Particular(), Pass()),
    ],
)
async def test_a_processor_brings_its_adapters(build: Callable[[], Graph]) -> None:
    """They stand directly above it, wherever it stands, and are counted like any other."""
    graph = build()
    kinds = [type(each) for each in graph.processors]
    assert kinds[kinds.index(_Particular) - 1] is _Halve
    async with Harness(graph) as harness:
        await harness.send(Audio(np.zeros(320, np.int16), 16_000))
        await harness.end()
        assert [frame.rate for frame in harness.of(Audio)] == [8000]
        assert any("_Halve" in name for name in harness.statistics().processors)


def test_an_adapter_need_not_be_fed() -> None:
    """It is there for whatever may come: text alone below another processor is no mistake."""

    class Reads(Processor):
        def adapters(self) -> tuple[Processor, ...]:
            return (_Halve(),)

        def process(self, frame: Text | Audio) -> Iterator[Text]:
            yield from ()

    class Writes(Processor):
        def process(self, frame: Transcript) -> Iterator[Text]:
            yield Text(frame.text)

    assert Pipeline(Writes(), Reads()).plan


def test_a_linked_processor_keeps_its_adapters() -> None:
    """Links to it lead to its first adapter; links from it begin at the processor itself."""
    particular, above, beside = _Particular(), Pass(Audio), Pass(Audio)
    graph = Graph().link(above, particular).link(beside, particular)
    assert [type(each) for each in graph.processors] == [Pass, _Halve, _Particular, Pass]
