"""The sound of spectra."""

from __future__ import annotations

import numpy as np
import pytest

from bargein.services.providers.hibari._model import with_output
from bargein.services.providers.hibari._sound import HOP, RATE, to_samples

NOTHING = -50.0
"""The logarithm of a magnitude that is not heard."""
FRAMES = 80


def spectra(pulse: float = NOTHING, noise: float = NOTHING, free: float = NOTHING) -> list[np.ndarray]:
    return [np.full((601, FRAMES), each, np.float32) for each in (pulse, 0.0, noise, free, 0.0)]


def sound(pitch: float, seed: int = 0, **levels: float) -> np.ndarray:
    low, phase, noise, free, free_phase = spectra(**levels)
    samples = to_samples((low, phase, noise, free, free_phase), np.full(FRAMES, pitch, np.float32), seed)
    assert samples.dtype == np.int16
    assert len(samples) == FRAMES * HOP
    return samples.astype(np.float64)


@pytest.mark.parametrize("pitch", [100, 200, 240])
def test_pulses_repeat_at_the_pitch(pitch: int) -> None:
    """And have its harmonics only."""
    spectrum = np.abs(np.fft.rfft(sound(pitch, pulse=-5.0)[RATE // 4 : RATE // 4 + RATE // 2]))
    loud = np.flatnonzero(spectrum > spectrum.max() / 3) * 2  # Hz
    assert len(loud) > 10
    assert all(each % pitch == 0 for each in loud)


def test_without_a_pitch_there_are_no_pulses() -> None:
    assert np.abs(sound(0, pulse=-3.0)).max() == 0


def test_noise_is_the_same_with_the_same_seed() -> None:
    assert np.array_equal(sound(0, noise=0.0), sound(0, noise=0.0))
    assert not np.array_equal(sound(0, noise=0.0), sound(0, seed=1, noise=0.0))


def test_loud_sound_is_clipped() -> None:
    assert np.abs(sound(200, pulse=7.0)).max() == 32_767


def test_an_output_is_added_to_a_graph() -> None:
    """Field 7, the graph; in it field 12, an output; in it field 1, the name."""
    assert with_output(b"...", b"ab") == b"...\x3a\x06\x62\x04\x0a\x02ab"
