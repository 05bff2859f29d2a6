"""Gain: decibels, saturation, and numbers that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bargein.pipeline.testing import check_processor, framed, tone
from bargein.processors import Gain


def test_six_decibels_double() -> None:
    """Minus six decibels halve."""
    (frame,) = framed(tone(ms=20, dbfs=-20))
    (louder,) = Gain(6.0206).process(frame)
    (softer,) = Gain(-6.0206).process(frame)
    assert np.allclose(louder.samples, 2 * frame.samples, atol=1)
    assert np.allclose(softer.samples, frame.samples / 2, atol=1)
    assert (louder.pts, louder.rate) == (frame.pts, frame.rate)


def test_too_loud_saturates() -> None:
    """It clips, and does not wrap."""
    (frame,) = framed(tone(ms=20, dbfs=-1))
    (louder,) = Gain(40).process(frame)
    assert set(np.unique(np.sign(louder.samples) == np.sign(frame.samples))) == {True}
    assert louder.samples.max() == 32767


def test_zero_gain_passes_the_same_frame() -> None:
    """At 0 dB the very same frame passes."""
    (frame,) = framed(tone(ms=20))
    assert list(Gain(0).process(frame))[0] is frame  # noqa: RUF015


@pytest.mark.parametrize("decibels", [math.nan, math.inf, -math.inf])
def test_no_number_is_refused(decibels: float) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match="expected a finite number of decibels"):
        Gain(decibels)


@pytest.mark.virtual
async def test_it_conforms() -> None:
    """The conformance suite passes."""
    await check_processor(lambda: Gain(-3))
