"""The link check: what cannot work is found before anything runs, with both ends and the remedy."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import pytest

from bargein.pipeline import (
    Audio,
    AudioFormat,
    Branch,
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
)

from .kit import Loops, Plain, Sink, TagsText, Waits


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
        r"'ToText' takes Transcript, but no processor above it sends that: 'Mic' sends Audio\. "
        r"Insert a processor between 'Mic' and 'ToText' that sends Transcript; .*inputs=Transcript",
    )
    refused(Pipeline(Plain(), ToText()), "no processor above it sends that")
    assert Pipeline(Plain(), ToText(), inputs=Transcript).plan
    assert Pipeline(Mic(), Plain(), Sink()).plan
    assert Pipeline(Pass(), ToText()).plan
    assert Pipeline(Pipeline(Plain(), inputs=Transcript), ToText()).plan


def test_wrong_rates_are_found() -> None:
    """Also across processors that leave the sound as it is."""
    message = (
        r"'Mic' sends audio at 48000 Hz, mono, but 'Narrow' takes 8000 or 16000 Hz, mono\. Insert Resample\(8000\)"
    )
    refused(Pipeline(Mic(), Narrow()), message)
    refused(Pipeline(Mic(), Plain(), Narrow()), "'Plain' sends audio at 48000 Hz")
    refused(Pipeline(Mic(), TagsText(), Narrow(), inputs=Text), message)


def test_wrong_channels_are_found() -> None:
    """The remedy keeps the rate."""
    refused(Pipeline(Stereo(), Narrow()), r"stereo, but 'Narrow' .*Insert Resample\(8000, channels=1\)")


def test_cycles_are_found() -> None:
    """The way round is named, and the remedy is upstream frames."""
    a, b, c, d = Plain(), Loops(), Waits(), Sink()
    refused(
        Graph().link(a, b, c, b).link(c, d),
        re.escape("a cycle: 'Loops' -> 'Waits' -> 'Loops'. To send something back") + ".*Delivery.UPSTREAM",
    )
    refused(Graph().link(a, a), "a cycle: 'Plain' -> 'Plain'")


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (Loops().options(on_error="drop"), "'drop' loses one frame"),
        (Plain().options(on_error="restart"), r"'restart' restarts run\(\)"),
        (Plain().options(on_error="ignore"), "on_error is 'ignore'"),  # type: ignore[arg-type]
        (Waits().options(capacity=0), "capacity of 0"),
    ],
)
def test_policies_must_fit(processor: Processor, message: str) -> None:
    """A policy that the kind cannot carry out is refused."""
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


class Minds(Processor):
    """A brain that remembers what was played."""

    def process(self, frame: Audio | Played) -> Iterator[Audio]:
        if isinstance(frame, Audio):
            yield frame


class Reports(Processor):
    """A sink that reports what it plays."""

    async def run(self, inbox: Inbox[Audio], out: Outlet[Played]) -> None: ...


def test_a_missing_report_is_pointed_out() -> None:
    """A brain that takes `Played` in a graph whose sink does not report it would never know what was heard."""
    message = r"'Minds' takes Played, but no processor below it sends that. Below 'Minds' insert Pacer\(\)"
    with pytest.warns(LinkWarning, match=message):
        _ = Pipeline(Mic(), Minds(), Speaker()).plan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = Pipeline(Mic(), Minds(), Reports()).plan
        _ = Pipeline(Mic(), Minds(), Speaker(), inputs=Played).plan
        _ = Pipeline(Mic(), Minds()).plan  # the application plays
        _ = Pipeline(Minds(), Speaker()).plan


def test_types_and_rates_are_followed_through() -> None:
    """A pass, a switch and a merge of two rates hide nothing."""
    refused(Pipeline(Mic(), Pass(), ToText()), "'ToText' takes Transcript, but no processor above it sends that")
    refused(Pipeline(Mic(), Switch("a", a=Plain(), b=Plain()), ToText()), "no processor above it sends that")
    fast = Mic().options(name="fast")
    fast.audio_out = AudioFormat(24_000, 1)
    refused(Pipeline(Branch(Mic(), fast), Plain(), Narrow()), "'Plain' sends audio at")
