"""Processors: what they are without an engine, and what a graph is made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bargein.pipeline import Audio, AudioFormat, ContractError, FrameError, Pass, Pipeline, Processor, Text
from bargein.pipeline.processor import as_processor

from .kit import Plain, audio


class Gain(Processor):
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def process(self, frame: Audio) -> Iterator[Audio]:
        yield frame.scaled(self.factor)


def test_a_plain_processor_needs_no_engine() -> None:
    """It is a generator."""
    frame = Audio(samples=np.array([1, 2], np.int16), rate=8000)
    assert next(iter(Gain(2).process(frame))).samples.tolist() == [2, 4]


def test_functions_are_processors() -> None:
    """An annotated function stands in a graph by itself, under its name."""

    def double(frame: Audio) -> Iterator[Audio]:
        yield frame
        yield frame

    pipeline = Pipeline(double, Plain())
    assert [node.name for node in pipeline.plan.processors] == ["double", "Plain"]
    assert list(as_processor(double).process(audio()))[1] == audio()  # type: ignore[attr-defined]


def test_objects_that_are_not_processors_are_refused() -> None:
    """A class, a value and a function without annotations each have their own error."""
    with pytest.raises(ContractError, match=r"Plain is a class; .* write Plain\(...\)"):
        Pipeline(Plain)
    with pytest.raises(ContractError, match="not of str 'mic'"):
        Pipeline("mic")  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="no annotation"):
        Pipeline(lambda frame: [frame])


def test_options_return_the_processor() -> None:
    """They are set where it stands in the chain."""
    plain = Plain()
    assert plain.options(name="front", on_error="drop", max_restarts=1, capacity=5) is plain
    assert (plain.name, plain.on_error, plain.max_restarts, plain.capacity) == ("front", "drop", 1, 5)
    assert repr(plain) == "<Plain 'front'>"
    assert repr(Plain()) == "<Plain>"


def test_pass_takes_the_given_classes() -> None:
    """All data, or some classes."""
    assert Pass(Audio).contract.takes == {Audio}
    assert Pass().contract.accepts(Text)
    assert list(Pass().process(audio())) == [audio()]


def test_formats_in_words() -> None:
    """They stand in link errors."""
    assert str(AudioFormat(16_000, 1)) == "16000 Hz, mono"
    assert str(AudioFormat((8000, 16_000), 2)) == "8000 or 16000 Hz, stereo"
    assert str(AudioFormat(channels=6)) == "6 channels"
    assert str(AudioFormat()) == "any audio"
    with pytest.raises(FrameError, match="a rate of 0 Hz"):
        AudioFormat(0)
