"""Graphs: chains, branches, merges, nesting, switches, and the link check."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from bargein.pipeline import (
    Audio,
    AudioFormat,
    Branch,
    End,
    Frame,
    Graph,
    Inbox,
    LinkError,
    LinkWarning,
    Outlet,
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

from .kit import Loops, Plain, Sink, Waits, audio, index


class Tags(Processor):
    """Gives each frame on with something added to its first sample."""

    def __init__(self, add: int) -> None:
        self.add = add

    def process(self, frame: Audio) -> Iterator[Audio]:
        samples = frame.samples.copy()
        samples[0] += self.add
        yield frame.with_samples(samples)


class TagsText(Processor):
    def process(self, frame: Text) -> Iterator[Text]:
        yield Text(text=frame.text.upper())


class Ends(Processor):
    """Counts the ends it sees."""

    def __init__(self) -> None:
        self.ends = 0

    def process(self, frame: Frame | End) -> Iterator[Frame]:
        if isinstance(frame, End):
            self.ends += 1
        else:
            yield frame


VIDEO = Video(data=np.zeros((2, 2, 3), np.uint8))


async def sent(graph: Graph | Processor, *frames: Frame) -> list[Frame]:
    async with Harness(graph) as harness:
        await harness.send(*frames)
        return await harness.end()


def numbers(frames: list[Frame]) -> list[int]:
    return [index(frame) for frame in frames if isinstance(frame, Audio)]


async def test_branches_get_the_same_frames_and_merge() -> None:
    """Each branch gets what it takes; behind them everything arrives once."""
    ends = Ends()
    got = await sent(Pipeline(Plain(), Branch(Tags(10), Tags(20), TagsText()), ends), audio(1), Text(text="a"))
    assert sorted(numbers(got)) == [11, 21]
    assert [frame.text for frame in got if isinstance(frame, Text)] == ["A"]
    assert ends.ends == 1


async def test_what_no_branch_takes_passes_once() -> None:
    """Passing several branches by does not multiply a frame."""
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
    """Whatever the others do, each branch's frames stay in order."""
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


async def test_a_switch_routes_by_name_and_can_be_turned() -> None:
    """The next frame after the change goes the new way."""
    switch = Switch("ten", ten=Tags(10), twenty=Pipeline(Tags(15), Waits(), Tags(5)))
    async with Harness(Plain(), switch, Plain()) as harness:
        await harness.send(audio(1))
        switch.route = "twenty"
        await harness.send(audio(1))
        switch.route = lambda frame: "ten" if index(frame) else "twenty"
        await harness.send(audio(0), audio(1))
        await harness.end()
    assert sorted(numbers(harness.frames)) == [11, 11, 20, 21]


async def test_a_switch_routes_by_class() -> None:
    """What the branch does not take goes on behind the switch."""
    switch = Switch({Audio: "sound", Frame: "rest"}, sound=Tags(10), rest=TagsText())
    got = await sent(Pipeline(switch, Plain()), audio(1), Text(text="a"), VIDEO)
    assert numbers(got) == [11]
    assert Text(text="A") in got
    assert VIDEO in got
    with pytest.raises(LinkError, match="no branch for Text"):
        await sent(Switch({Audio: "a"}, a=Tags(1)), Text(text="a"))


async def test_a_switch_refuses_unknown_branches() -> None:
    """At once when they can be known, else when a frame would go there."""
    with pytest.raises(LinkError, match="no branch 'c'; it has 'a', 'b'"):
        Switch("c", a=Plain(), b=Plain())
    switch = Switch("a", a=Plain(), b=Plain())
    with pytest.raises(LinkError, match="no branch 'z'"):
        switch.route = {Audio: "z"}
    switch.route = lambda frame: "z"
    with pytest.raises(LinkError, match="no branch 'z'"):
        await sent(switch, audio())
    with pytest.raises(LinkError, match="has no branches"):
        Switch("a")


async def test_long_chains_run() -> None:
    """Longer than Python's recursion limit, in order."""
    assert numbers(await sent(Pipeline(*(Plain() for _ in range(1200))), audio(1), audio(2))) == [1, 2]


class ToText(Processor):
    async def process(self, frame: Transcript, out: Outlet[Text]) -> None: ...


class Mic(Processor):
    audio_out = AudioFormat(48_000, 1)

    async def run(self, out: Outlet[Audio]) -> None: ...


class Narrow(Processor):
    audio_in = AudioFormat((8000, 16_000), 1)

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame


class Stereo(Processor):
    audio_out = AudioFormat(channels=2)

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame


def refused(graph: Graph, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        _ = graph.plan


def test_wrong_types_are_found() -> None:
    """The error names both ends, what each gives and takes, and the remedy."""
    refused(
        Pipeline(Mic(), ToText()),
        r"'ToText' takes Transcript, but nothing above it gives that: 'Mic' gives Audio\. "
        r"Insert a processor between 'Mic' and 'ToText' that gives Transcript; .*inputs=Transcript",
    )
    refused(Pipeline(Plain(), ToText()), "nothing above it gives that")
    assert Pipeline(Plain(), ToText(), inputs=Transcript).plan
    assert Pipeline(Mic(), Plain(), Sink()).plan
    assert Pipeline(Pass(), ToText()).plan
    assert Pipeline(Pipeline(Plain(), inputs=Transcript), ToText()).plan


def test_wrong_rates_are_found() -> None:
    """Also across processors that leave the sound as it is."""
    message = (
        r"'Mic' gives audio at 48000 Hz, mono, but 'Narrow' takes 8000 or 16000 Hz, mono\. Insert Resample\(8000\)"
    )
    refused(Pipeline(Mic(), Narrow()), message)
    refused(Pipeline(Mic(), Plain(), Narrow()), "'Plain' gives audio at 48000 Hz")
    refused(Pipeline(Mic(), TagsText(), Narrow(), inputs=Text), message)


def test_wrong_channels_are_found() -> None:
    """The remedy keeps the rate."""
    refused(Pipeline(Stereo(), Narrow()), r"stereo, but 'Narrow' .*Insert Resample\(8000, channels=1\)")


def test_cycles_are_found() -> None:
    """The way round is named, and the remedy is upstream frames."""
    a, b, c, d = Plain(), Loops(), Waits(), Sink()
    refused(
        Graph().link(a, b, c, b).link(c, d),
        re.escape("a cycle: 'Loops' -> 'Waits' -> 'Loops'. To send news back") + ".*Travels.UPSTREAM",
    )
    refused(Graph().link(a, a), "a cycle: 'Plain' -> 'Plain'")


def test_using_a_processor_twice_is_found() -> None:
    """Within a pipeline, and across nested ones."""
    plain = Plain()
    with pytest.raises(LinkError, match="<Plain> is used twice in Pipeline"):
        Pipeline(plain, plain)
    with pytest.raises(LinkError, match="is used twice"):
        Pipeline(plain, Pipeline(plain))


def test_empty_graphs_are_found() -> None:
    """They have a remedy too."""
    refused(Pipeline(), r"has no processors; .*use Pass\(\)")


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (Loops().options(on_error="drop"), "'drop' loses one frame"),
        (Plain().options(on_error="restart"), r"'restart' starts run\(\) anew"),
        (Plain().options(on_error="ignore"), "on_error is 'ignore'"),  # type: ignore[arg-type]
        (Waits().options(capacity=0), "capacity of 0"),
    ],
)
def test_policies_must_fit(processor: Processor, message: str) -> None:
    """A policy that the rung cannot carry out is refused."""
    refused(Pipeline(processor), message)


class Speaker(Processor):
    async def run(self, inbox: Inbox[Audio]) -> None: ...


def test_a_missing_brain_is_pointed_out() -> None:
    """A microphone that passes everything by and ends in the speaker is probably not meant."""
    with pytest.warns(LinkWarning, match="the Audio of 'Mic' passes 'TagsText' by and goes straight to 'Speaker'"):
        _ = Pipeline(Mic(), TagsText(), Speaker(), inputs=Text).plan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = Pipeline(Mic(), Speaker()).plan
        _ = Pipeline(Mic(), Pass(Audio), TagsText(), Speaker(), inputs=Text).plan


async def test_sources_in_the_middle() -> None:
    """A source that stands behind others lets their frames pass and adds its own."""
    source = Scripted(audio(7), Played(response="r", ms=1))
    got = await sent(Pipeline(Plain(), source, Waits()), audio(1))
    assert sorted(numbers(got)) == [1, 7]


def test_what_comes_out_is_known() -> None:
    """A graph's contract says what its heads take and what may leave."""
    contract = Pipeline(Plain(), Branch(Waits(), Sink())).contract
    assert contract.takes == {Audio}
    assert contract.gives == {Audio}


async def test_passing_by_never_multiplies() -> None:
    """Neither unfused, nor behind two hundred fused steps, nor in a switch whose branch forks."""
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
    """A plain processor with an inbox of its own lets nothing overtake it, not even what it does not take."""
    async with Harness(Plain(), Plain(), TagsText(), Plain(), fused=False) as harness:
        frames: list[Frame] = [audio(1), Text(text="a"), VIDEO, audio(2), Transcript(text="b"), audio(3)]
        await harness.send(*frames)
        await harness.end()
    assert [type(frame) for frame in harness.frames] == [type(frame) for frame in frames]
    assert harness.statistics().processors["TagsText"].frames_in == 1


def test_nothing_is_lost_in_nesting() -> None:
    """An empty pipeline and a link that comes too late are errors, not silent surprises."""
    with pytest.raises(LinkError, match=r"has no processors; .*use Pass\(\)"):
        Pipeline(Plain(), Pipeline(), Sink())
    inner = Graph(a := Plain())
    Pipeline(inner, Sink())
    with pytest.raises(LinkError, match="has become a part of"):
        inner.link(a, Plain())


def test_names_are_unique() -> None:
    """Whatever the author called them."""
    graph = Graph(*(Plain().options(name=name) for name in ("X-2", "X", "X", "X")))
    assert [node.name for node in graph.plan.processors] == ["X-2", "X", "X-3", "X-4"]


def test_types_and_rates_are_followed_through() -> None:
    """A pass, a switch and a merge of two rates hide nothing."""
    refused(Pipeline(Mic(), Pass(), ToText()), "'ToText' takes Transcript, but nothing above it gives that")
    refused(Pipeline(Mic(), Switch("a", a=Plain(), b=Plain()), ToText()), "nothing above it gives that")
    fast = Mic().options(name="fast")
    fast.audio_out = AudioFormat(24_000, 1)
    refused(Pipeline(Branch(Mic(), fast), Plain(), Narrow()), "'Plain' gives audio at")
