"""Signals: levels, lengths, and that the same arguments give the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from bargein.pipeline import Text
from bargein.pipeline.testing import framed, joined, noise, silence, speech_like, tone


def rms_dbfs(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2)) / 32767 * np.sqrt(2)))


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_lengths_and_levels(rate: int) -> None:
    """Milliseconds become samples; decibels are those of a full-scale sine."""
    assert len(tone(1000, 250, rate=rate)) == rate // 4
    assert rms_dbfs(tone(1000, 1000, rate=rate, dbfs=-20)) == pytest.approx(-20, abs=0.1)
    assert rms_dbfs(noise(1000, rate=rate, dbfs=-30)) == pytest.approx(-30, abs=0.3)
    assert not silence(100, rate=rate).any()
    assert np.max(np.abs(speech_like(1000, rate=rate, dbfs=-6))) == pytest.approx(32767 * 10 ** (-6 / 20), rel=0.01)


def test_a_tone_is_where_it_should_be() -> None:
    """Its spectrum has one line."""
    spectrum = np.abs(np.fft.rfft(tone(1000, 1000).astype(float)))
    assert int(np.argmax(spectrum)) == 1000


def test_speech_like_has_syllables() -> None:
    """Its envelope swings between loud and silent several times a second."""
    envelope = np.abs(speech_like(2000).astype(float)).reshape(-1, 320).max(axis=1)
    loud = envelope > envelope.max() / 4
    bursts = int(np.sum(loud[1:] & ~loud[:-1]))
    assert 6 <= bursts <= 14


def test_the_same_arguments_make_the_same_samples() -> None:
    """The same arguments make the same samples, and other seeds make others."""
    assert np.array_equal(noise(seed=3), noise(seed=3))
    assert np.array_equal(speech_like(seed=3), speech_like(seed=3))
    assert not np.array_equal(noise(seed=3), noise(seed=4))


def test_framing() -> None:
    """Times are counted from samples, nothing is lost, the last may be shorter."""
    samples = tone(ms=50)
    frames = list(framed(samples, ms=20, epoch=3, response_id="r", start=160))
    assert [len(frame.samples) for frame in frames] == [320, 320, 160]
    assert [frame.pts for frame in frames] == [10_000_000, 30_000_000, 50_000_000]
    assert {(frame.epoch, frame.response_id) for frame in frames} == {(3, "r")}
    assert np.array_equal(joined([*frames, Text(text="not sound")]), samples)
    assert len(joined([])) == 0
