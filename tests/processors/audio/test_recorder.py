"""Recorder: formats in, frames that pass, settings and a whole conversation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bargein.pipeline import Audio, Interrupt, Pipeline, Processor, SpeechStarted
from bargein.pipeline.testing import Harness, check_processor, framed, noise, tone
from bargein.processors.audio.recorder import Recorder
from bargein.processors.speaking.pacer import Pacer

from .recordings import Brain, read, record, runs, sound


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (24_000, 1), (44_100, 2), (48_000, 2), (16_000, 2), (16_000, 6)]
)
def test_any_format_is_converted(tmp_path: Path, rate: int, channels: int) -> None:
    """Without a shift and without losing a sample, across gaps."""
    recorder = Recorder(tmp_path / "call.wav")
    said = tone(400, 500, rate=rate)
    wide = said if channels == 1 else np.repeat(said.reshape(-1, 1), channels, axis=1)
    with recorder.user:
        for start in (0, rate):
            for frame in framed(wide, rate=rate, start=start):
                list(recorder.user.process(frame))
    left, _ = read(recorder.path)
    assert len(left) == 24_000
    for half in (left[:8000], left[16_000:]):
        assert np.abs(half[100:-100].astype(int) - tone(400, 500)[100:-100]).max() < 200
    assert not left[8000:16_000].any()


def test_another_rate_in_the_middle(tmp_path: Path) -> None:
    """The sound goes on where it was."""
    recorder = Recorder(tmp_path / "call.wav")
    frames = [*framed(tone(400, 100)), *framed(tone(400, 100, rate=48_000), rate=48_000, start=4800)]
    record(recorder, *frames, sound(5, 320, pts=0.2))
    left, _ = read(recorder.path)
    assert len(left) == 3520
    assert np.abs(left[:3100].astype(int) - np.tile(tone(400, 100), 2)[:3100]).max() < 500
    assert set(left[3200:]) == {5}


@pytest.mark.virtual
async def test_frames_pass_as_they_are(tmp_path: Path) -> None:
    """The very same objects, of any format, at both ends."""
    recorder = Recorder(tmp_path / "call.wav")
    frames = [*framed(tone(ms=100)), *framed(tone(ms=100, rate=24_000), rate=24_000, response_id="r", epoch=0)]
    async with Harness(recorder.user, recorder.agent) as harness:
        await harness.send(*frames)
        await harness.end()
    assert all(one is other for one, other in zip(harness.of(Audio), frames, strict=True))


@pytest.mark.parametrize("bad", [{"rate": 0}, {"rate": 16e3}, {"max_bytes": 0}, {"max_bytes": 2**32}])
def test_bad_settings_are_refused(bad: dict[str, int]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"Recorder\(.*expected"):
        Recorder("call.wav", **bad)  # type: ignore[arg-type]


@pytest.mark.virtual
async def test_a_conversation_in_a_pipeline(tmp_path: Path) -> None:
    """Both ends in one graph, fused or not, give the same file."""

    class Detector(Processor):
        def process(self, frame: Audio) -> Iterator[Audio | SpeechStarted | Interrupt]:
            if frame.pts == 1_000_000_000:
                yield SpeechStarted(pts=frame.pts)
                yield Interrupt()
            yield frame

    files = []
    for fused in (True, False):
        recorder = Recorder(tmp_path / f"{fused}.wav")
        brain = Brain(lambda _: np.full(32_000, 5, np.int16), 0.5)
        graph = Pipeline(recorder.user, Detector(), brain, Pacer(), recorder.agent, inputs=Audio)
        async with Harness(graph, fused=fused) as harness:
            await harness.play(list(framed(noise(3000))))
            await harness.end()
        files.append(read(recorder.path))
    for left, right in files:
        assert np.array_equal(left, noise(3000))
        assert (runs(right)[0][0], runs(right)[-1][1] <= 16_400) == (8320, True)
    assert np.array_equal(files[0], files[1])


@pytest.mark.virtual
@pytest.mark.parametrize("end", ["user", "agent"])
@pytest.mark.parametrize("rate", [16_000, 24_000])
async def test_it_conforms(tmp_path: Path, end: str, rate: int) -> None:
    """The conformance suite passes for both ends."""
    number = itertools.count()

    def make() -> Processor:
        processor: Processor = getattr(Recorder(tmp_path / f"{next(number)}.wav"), end)
        return processor

    await check_processor(make, rate=rate)
