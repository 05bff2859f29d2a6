"""Conversions between samples and nanoseconds."""

from __future__ import annotations

import pytest

from bargein.pipeline.lowlevel import SECOND, ns, samples_in


@pytest.mark.parametrize(
    ("samples", "rate", "expected"), [(16_000, 16_000, SECOND), (1, 3, 333_333_333), (0, 8_000, 0)]
)
def test_samples_last_whole_nanoseconds_rounded_down(samples: int, rate: int, expected: int) -> None:
    assert ns(samples, rate) == expected


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_samples_and_nanoseconds_round_trip(rate: int) -> None:
    for samples in range(0, 5 * rate, 977):
        assert samples - 1 <= samples_in(ns(samples, rate), rate) <= samples
