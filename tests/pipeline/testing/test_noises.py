"""The noises of a room: their length and level, and that a seed repeats them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bargein.pipeline.testing import breath, click, cough, hum, keyboard, music, slam

NOISES: list[tuple[Callable[..., Any], float]] = [
    (breath, 900),
    (click, 5),
    (cough, 400),
    (hum, 2000),
    (keyboard, 2000),
    (music, 4000),
    (slam, 300),
]


@pytest.mark.parametrize(("make", "ms"), NOISES)
@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_each_has_its_length_and_its_peak(make: Callable[..., Any], ms: float, rate: int) -> None:
    samples = make(rate=rate, dbfs=-20)
    assert samples.dtype == np.int16
    assert len(samples) == ms * rate / 1000
    assert np.abs(samples.astype(int)).max() == pytest.approx(3277, abs=1)


@pytest.mark.parametrize("make", [make for make, _ in NOISES if make is not hum])
def test_a_seed_repeats_it(make: Callable[..., Any]) -> None:
    assert np.array_equal(make(seed=1), make(seed=1))
    assert not np.array_equal(make(seed=1), make(seed=2))
