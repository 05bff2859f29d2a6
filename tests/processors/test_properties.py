"""What holds for every processor of sound, picture and text: nothing is lost, nothing is made up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Audio, End, Frame, Interrupt, ResponseEnded, SpeechStarted, Text, Video
from bargein.pipeline.testing import framed, joined, speech_like, tone
from bargein.processors import Gain, Meter, Mixer, Recorder, Resample, SampleFps, Sentences, Spoken, Tap, Vad

ROOM = Audio(samples=tone(100, 500, dbfs=-30), rate=16_000)
SOUND = speech_like(600)

KEEP: dict[str, Callable[[], Any]] = {
    "Gain": lambda: Gain(-6),
    "Meter": lambda: Meter(30),
    "Mixer": lambda: Mixer(ROOM),
    "Recorder.agent": lambda: Recorder("never-opened.wav").agent,
    "Recorder.user": lambda: Recorder("never-opened.wav").user,
    "Resample": lambda: Resample(16_000),
    "Spoken": Spoken,
    "Tap": lambda: Tap(lambda frame: None, Audio),
    "Vad": Vad,
}
"""Those that give as many samples as they take."""

RESET: dict[str, Callable[[], Any]] = {
    **KEEP,
    "Resample 24": lambda: Resample(24_000),
    "SampleFps": lambda: SampleFps(10),
    "Sentences": Sentences,
}


def cut(sizes: list[int], **fields: Any) -> list[Audio]:
    """The sound in frames of these sizes, again and again."""
    frames: list[Audio] = []
    at = 0
    while at < len(SOUND):
        size = sizes[len(frames) % len(sizes)]
        frames.append(Audio(samples=SOUND[at : at + size], rate=16_000, pts=at * 62_500, **fields))
        at += size
    return frames


def through(processor: Any, frames: list[Any]) -> list[Frame]:
    takes = processor.contract.accepts
    return [made for frame in frames if takes(type(frame)) for made in processor.process(frame) or ()]


@pytest.mark.slow
@pytest.mark.parametrize("name", KEEP)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=20))
def test_samples_are_conserved(name: str, sizes: list[int]) -> None:
    """As many come out as went in, in order and in time, however they are cut."""
    out = [frame for frame in through(KEEP[name](), [*cut(sizes), End()]) if isinstance(frame, Audio)]
    assert len(joined(out)) == len(SOUND)
    assert all(one.pts <= other.pts for one, other in pairwise(out))


@pytest.mark.slow
@pytest.mark.parametrize("name", KEEP)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=20))
def test_cutting_changes_no_sample(name: str, sizes: list[int]) -> None:
    """The same sound comes out."""
    expected = joined(through(KEEP[name](), [*framed(SOUND), End()]))
    assert np.array_equal(joined(through(KEEP[name](), [*cut(sizes), End()])), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESET)
@given(st.integers(0, 40), st.integers(1, 3))
def test_interrupts_are_idempotent(name: str, at: int, times: int) -> None:
    """Two of the same are as one, and one of an epoch that has passed is nothing."""
    reply: list[Frame] = []
    for frame in cut([320], response_id="r", epoch=0):
        reply += [frame, Text(text="Some words. ", response_id="r", epoch=0)]
        reply += [Video(data=np.zeros((2, 2, 3), np.uint8), pts=frame.pts, response_id="r", epoch=0)]
    following = [*(frame.stamped(1) for frame in reply), SpeechStarted(), ResponseEnded(response_id="r"), End()]
    interrupt = Interrupt(epoch=1)

    def after(interrupts: list[Interrupt]) -> list[Frame]:
        processor = RESET[name]()
        through(processor, reply[:at])
        through(processor, interrupts)
        return through(processor, following)

    assert after([interrupt] * (1 + times)) == after([interrupt])
    assert after([interrupt, Interrupt(epoch=0)]) == after([interrupt])
