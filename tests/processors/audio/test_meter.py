"""Meter: levels of known signals, whatever the frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import Audio, End
from bargein.pipeline.testing import check_processor, framed, silence, tone
from bargein.processors import Level, Meter


def levels(meter: Meter, frames: list[Audio]) -> list[Level]:
    out = [each for frame in frames for each in meter.process(frame)]
    out += meter.process(End())
    return [each for each in out if isinstance(each, Level)]


def test_a_tone_has_its_level() -> None:
    """A sine of -20 dBFS has a root mean square and a peak of -20 dBFS, by the convention of full-scale sines."""
    for level in levels(Meter(100), list(framed(tone(ms=1000, dbfs=-20)))):
        assert level.rms_dbfs == pytest.approx(-20, abs=0.1)
        assert level.peak_dbfs == pytest.approx(-20, abs=0.1)
        assert (level.clipped, level.silent, level.ms) == (0, False, 100)


def test_silence_and_clipping() -> None:
    """Zeros have the lowest level there is; samples at full scale are counted on both sides."""
    (quiet,) = levels(Meter(100), list(framed(silence(100))))
    assert (quiet.rms_dbfs, quiet.peak_dbfs, quiet.silent) == (-120, -120, True)
    loud = np.array([32767, -32768, -32767, 32766, 0], np.int16)
    (clipped,) = levels(Meter(100), [Audio(samples=loud, rate=16_000)])
    assert clipped.clipped == 3


@given(st.lists(st.integers(1, 500), min_size=1, max_size=30))
def test_cutting_changes_nothing(sizes: list[int]) -> None:
    """The levels, their times and their lengths are the same however the sound is cut."""
    samples = tone(333, ms=1000, dbfs=-9)[: sum(sizes)]
    at, frames = 0, []
    for size in sizes:
        piece = samples[at : at + size]
        if len(piece):
            frames.append(Audio(samples=piece, rate=16_000, pts=at * 62_500))
        at += size
    assert levels(Meter(10), frames) == pytest.approx(levels(Meter(10), [Audio(samples=samples, rate=16_000)]))


def test_channels_are_measured_together() -> None:
    """A tone on one side only is 3 dB less."""
    one = tone(ms=100, dbfs=-20)
    both = np.stack([one, np.zeros_like(one)], axis=1)
    (level,) = levels(Meter(100), [Audio(samples=both, rate=16_000)])
    assert level.rms_dbfs == pytest.approx(-23, abs=0.1)


def test_another_rate_begins_another_stretch() -> None:
    """What was begun is told first."""
    frames = [*framed(tone(ms=50), ms=50), *framed(tone(ms=100, rate=8000), rate=8000, ms=100)]
    assert [level.ms for level in levels(Meter(100), frames)] == [50, 100]


@pytest.mark.parametrize("bad", [{"ms": 0}, {"ms": math.nan}, {"silence_dbfs": math.inf}])
def test_bad_settings_are_refused(bad: dict[str, float]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"Meter\(.*expected a"):
        Meter(**bad)


@pytest.mark.virtual
async def test_it_conforms() -> None:
    """The conformance suite passes; its levels are about sound that never expires."""
    await check_processor(Meter, resets=False)
