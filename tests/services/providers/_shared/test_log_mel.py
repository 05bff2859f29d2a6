"""The log-mel spectrogram."""

from __future__ import annotations

import numpy as np
import pytest

from bargein.pipeline.testing import noise
from bargein.services.providers._shared.log_mel import RATE, log_mel, to_float


def test_it_has_a_column_for_each_hundredth_of_a_second() -> None:
    found = log_mel(np.zeros(RATE, np.float32), 8 * RATE)
    assert found.shape == (80, 800)
    assert found.dtype == np.float32
    assert np.allclose(found, -1.5)  # silence: 1e-10, the lowest
    assert log_mel(np.zeros(RATE, np.int16), RATE, bands=128).shape == (128, 100)


def test_a_tone_is_in_its_band() -> None:
    """A higher tone is in a higher row."""
    times = np.arange(RATE) / RATE
    rows = [
        log_mel((0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32), RATE)[:, 50].argmax() for hz in (300, 3000)
    ]
    assert rows[0] < 12 < 50 < rows[1]


def test_it_equals_the_one_of_faster_whisper() -> None:
    """Another implementation, which reproduces OpenAI's."""
    library = pytest.importorskip(
        "faster_whisper.feature_extractor", reason="the extra 'faster-whisper' is not installed"
    )
    samples = np.concatenate([noise(1000), np.zeros(RATE, np.int16)])
    expected = library.FeatureExtractor()(samples.astype(np.float32) / 32_768, padding=0)
    found = log_mel(to_float(samples), len(samples))
    assert found.shape == (80, 200)
    assert np.allclose(found[:, : expected.shape[1]], expected, atol=1e-3)
