"""Resample: constant delay, every sample, no clicks, and the quality that is promised."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.pipeline import Audio, End, Frame, Interrupt, LinkError, Pipeline, Processor, ResponseEnded
from bargein.pipeline.testing import check_processor, framed, joined, tone
from bargein.processors import Resample

RATES = [8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
PAIRS = list(itertools.permutations(RATES, 2))


def through(processor: Resample, frames: Iterable[Frame]) -> list[Audio]:
    out = [each for frame in (*frames, End()) for each in processor.process(frame)]  # type: ignore[arg-type]
    return [each for each in out if isinstance(each, Audio)]


def fit(samples: npt.NDArray[np.int16], rate: int, frequency: float) -> tuple[float, float, float]:
    """The sine in some samples: its gain against 20,000, the signal-to-noise ratio (dB), and its shift in ms."""
    middle = slice(len(samples) // 10, -len(samples) // 10)
    time = (np.arange(len(samples)) / rate)[middle]
    basis = np.stack([np.sin(2 * np.pi * frequency * time), np.cos(2 * np.pi * frequency * time)], axis=1)
    (sine, cosine), *_ = np.linalg.lstsq(basis, samples[middle].astype(float), rcond=None)
    signal = basis @ np.array([sine, cosine])
    noise = samples[middle] - signal
    ratio = 10 * np.log10(np.mean(signal**2) / np.mean(noise**2))
    shift = np.arctan2(cosine, sine) / (2 * np.pi * frequency) * 1000
    return float(np.hypot(sine, cosine) / 20_000), float(ratio), float(shift)


def sine(frequency: float, rate: int, ms: float = 1000) -> npt.NDArray[np.int16]:
    return tone(frequency, ms, rate=rate, dbfs=float(20 * np.log10(20_000 / 32767)))


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_every_pair_keeps_its_promise(before: int, after: int) -> None:
    """20 ms in give 20 ms out every time after the first; delay of at most 3 ms; no shift; at least 80 dB."""
    frames = list(framed(sine(1000, before), rate=before))
    processor = Resample(after)
    sizes = [sum(len(out.samples) for out in processor.process(frame) if isinstance(out, Audio)) for frame in frames]
    assert set(sizes[1:]) == {after // 50}
    assert (after / 50 - sizes[0]) / after <= 0.003
    samples = joined(through(Resample(after), frames))
    assert len(samples) == after
    gain, ratio, shift = fit(samples, after, 1000)
    assert gain == pytest.approx(1, abs=0.01)
    assert ratio >= 80
    assert abs(shift) < 0.01


@pytest.mark.parametrize(("before", "after"), [(48_000, 16_000), (48_000, 8000), (44_100, 16_000), (24_000, 16_000)])
def test_no_alias(before: int, after: int) -> None:
    """A tone well above the new half rate leaves no alias."""
    samples = joined(through(Resample(after), framed(sine(after * 0.62, before), rate=before)))
    power = np.mean(samples[100:-100].astype(float) ** 2) / (20_000**2 / 2)
    assert power <= 1e-8, "more than -80 dB of it is left"


def test_no_sample_is_lost_in_an_hour() -> None:
    """Nor invented: the ratio is exact to one sample. Frames of odd sizes, so that no rounding can hide."""
    processor, rate, after = Resample(8000), 22_050, 8000
    random = np.random.default_rng(1)
    noise = random.integers(-9000, 9000, 60_000).astype(np.int16)
    sent = got = 0
    while sent < 3600 * rate:
        size = int(random.integers(20_000, 60_000))
        frame = Audio(samples=noise[:size], rate=rate, pts=sent * 1_000_000_000 // rate)
        got += sum(len(out.samples) for out in processor.process(frame) if isinstance(out, Audio))
        sent += size
    got += sum(len(out.samples) for out in processor.process(End()) if isinstance(out, Audio))
    assert abs(got - sent * after / rate) <= 1


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=20), pair=st.sampled_from(PAIRS))
def test_cutting_changes_nothing(sizes: list[int], pair: tuple[int, int]) -> None:
    """Any frame sizes give the same samples at the same times."""
    before, after = pair
    samples = sine(700, before, 1000)[: sum(sizes)]
    cuts = np.cumsum([0, *sizes])
    frames = [
        Audio(samples=samples[a:b], rate=before, pts=int(a) * 1_000_000_000 // before)
        for a, b in itertools.pairwise(cuts)
        if len(samples[a:b])
    ]
    out = through(Resample(after), frames)
    assert np.array_equal(joined(out), joined(through(Resample(after), [Audio(samples=samples, rate=before)])))
    at = 0
    for frame in out:
        assert frame.pts == at * 1_000_000_000 // after
        at += len(frame.samples)


def test_a_pause_does_not_click() -> None:
    """After a gap of 300 ms the next stretch stands at its own time, and neither end jumps."""
    first = list(framed(sine(400, 24_000, 200), rate=24_000))
    second = list(framed(sine(400, 24_000, 200), rate=24_000, start=12_000))
    out = through(Resample(16_000), [*first, *second])
    later = [frame for frame in out if frame.pts >= 500_000_000]
    assert later[0].pts == 500_000_000
    assert (len(joined(out)), len(joined(later))) == (6400, 3200)
    steepest = 2 * np.pi * 400 / 16_000 * 20_000
    for stretch in (joined(out)[:3200], joined(later)):
        assert (
            np.abs(np.diff(stretch.astype(int))).max() <= steepest * 1.2
        )  # a jump to or from zero would be six times that


def test_frames_without_times_are_one_stretch() -> None:
    """A `pts` that stays at zero says nothing about gaps."""
    frames = [msgspec.structs.replace(frame, pts=0) for frame in framed(sine(400, 24_000, 400), rate=24_000)]
    assert np.array_equal(
        joined(through(Resample(16_000), frames)),
        joined(through(Resample(16_000), framed(sine(400, 24_000, 400), rate=24_000))),
    )


def test_the_end_of_a_response_is_a_boundary() -> None:
    """Its last milliseconds come before `ResponseEnded`, with its epoch; the next starts again."""
    first = list(framed(sine(400, 24_000, 100), rate=24_000, epoch=0, response_id="a"))
    processor = Resample(16_000)
    out: list[Frame] = [each for frame in first for each in processor.process(frame)]
    out += processor.process(ResponseEnded(response_id="a"))
    assert isinstance(out[-1], ResponseEnded)
    assert len(joined(out)) == 1600
    assert {(frame.response_id, frame.epoch) for frame in out if isinstance(frame, Audio)} == {("a", 0)}
    (second,) = framed(sine(400, 24_000, 20), rate=24_000, epoch=0, response_id="b")
    assert {frame.response_id for frame in through(processor, [second])} == {"b"}


def test_another_response_flushes_the_one_before() -> None:
    """Also without `ResponseEnded`."""
    (first,) = framed(sine(400, 24_000, 20), rate=24_000, epoch=0, response_id="a")
    (second,) = framed(sine(400, 24_000, 20), rate=24_000, epoch=0, response_id="b")
    out = through(Resample(16_000), [first, second])
    assert [sum(len(each.samples) for each in out if each.response_id == name) for name in "ab"] == [320, 320]


def test_an_interrupt_drops_the_reply_and_not_the_user() -> None:
    """What is held back of a reply is gone; of the user's sound, nothing is."""
    (live,) = framed(sine(400, 24_000, 20), rate=24_000)
    for frame, expected in ((live.stamped(0), 0), (live, 320)):
        processor = Resample(16_000)
        before = joined(processor.process(frame))
        assert list(processor.process(Interrupt(epoch=1))) == []
        tail = joined(processor.process(End()))
        assert (len(before) + len(tail) if expected else len(tail)) == expected


def test_channels() -> None:
    """Both sides to their mean, one side to both; with and without another rate."""
    left, right = sine(400, 16_000, 100), sine(900, 16_000, 100)
    stereo = Audio(samples=np.stack([left, right], axis=1), rate=16_000)
    mono = Audio(samples=left, rate=16_000)
    (mixed,) = through(Resample(16_000, 1), [stereo])
    assert np.array_equal(mixed.samples, np.rint((left.astype(float) + right) / 2).astype(np.int16))
    (both,) = through(Resample(16_000, 2), [mono])
    assert np.array_equal(both.samples, np.stack([left, left], axis=1))
    for frame, channels in ((stereo, 1), (stereo, 2), (mono, 2), (mono, 1), (stereo, None), (mono, None)):
        out = through(Resample(24_000, channels), [frame])
        assert {each.channels for each in out} == {channels or frame.channels}
        assert sum(len(each.samples) for each in out) == 2400
    sides = through(Resample(24_000), [stereo])
    merged = np.concatenate([each.samples for each in sides])
    assert np.array_equal(merged[:, 0], joined(through(Resample(24_000), [mono])))


def test_matching_frame_passes_unchanged() -> None:
    """The very same frame."""
    (frame,) = framed(tone(ms=20))
    assert next(iter(Resample(16_000).process(frame))) is frame


@pytest.mark.parametrize(
    ("arguments", "message"), [((0,), "positive int"), ((1.5,), "positive int"), ((8000, 3), "1 .mono")]
)
def test_bad_settings_are_refused(arguments: tuple[int, ...], message: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match=message):
        Resample(*arguments)


def test_many_channels_become_one() -> None:
    """The sound of a microphone with four channels is their mean, at the new rate as at the old one."""
    four = np.tile(np.array([400, 800, 1200, 1600], np.int16), (1600, 1))
    same = next(Resample(16_000, 1).process(Audio(samples=four, rate=16_000)))
    assert isinstance(same, Audio)
    assert same.samples.shape == (1600,)
    assert set(same.samples) == {1000}
    resample = Resample(8000)
    frames = [Audio(samples=four[at : at + 320], rate=16_000, pts=at * 62_500) for at in range(0, 1600, 320)] + [End()]
    out = [each for frame in frames for each in resample.process(frame) if isinstance(each, Audio)]
    assert sum(len(each.samples) for each in out) == 800
    assert all(each.channels == 1 for each in out)


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match=r"Resample needs av.*pip install 'bargein\[audio\]'"):
        Resample(16_000)


def test_link_check_accepts_resample() -> None:
    """A graph that is refused for its rates is accepted with it in between."""

    class Wide(Processor):
        audio_out = Resample(48_000).audio_out

        def process(self, frame: Audio) -> list[Audio]:
            return [frame]

    class Narrow(Wide):
        audio_in = Resample(16_000).audio_out

    with pytest.raises(LinkError, match=r"Insert Resample\(16000\) between 'Wide' and 'Narrow'"):
        _ = Pipeline(Wide(), Narrow()).plan
    assert Pipeline(Wide(), Resample(16_000), Narrow()).plan


@pytest.mark.virtual
@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
async def test_it_conforms(rate: int) -> None:
    """The conformance suite passes."""
    await check_processor(lambda: Resample(rate))


def test_any_view_of_samples_is_taken() -> None:
    """Every second sample of an array, or one side of another."""
    samples = np.stack([tone(ms=20), tone(300, ms=20)], axis=1)
    view = Audio(samples=samples[:, 1], rate=16_000)
    whole = Audio(samples=samples[:, 1].copy(), rate=16_000)
    assert list(Resample(24_000).process(view)) == list(Resample(24_000).process(whole))
