"""What Smart Turn hears: the log-mel spectrogram of the latest eight seconds, with silence before a shorter sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bargein.pipeline.lowlevel import Samples
from bargein.services.providers._shared.log_mel import RATE, log_mel, to_float

__all__ = ["SECONDS", "smart_turn_features"]

SECONDS = 8
"""Length of the sound that the model hears."""


def smart_turn_features(samples: Samples, rate: int) -> npt.NDArray[np.float32]:
    """Return the model's input for a sound, of shape `(1, 80, 800)`.

    Args:
        samples: `int16`, mono. The end counts.
        rate: Samples a second (Hz).
    """
    latest = to_float(samples[-SECONDS * rate :])
    if rate != RATE:
        latest = _resample(latest, round(len(latest) * RATE / rate))
    sound = np.zeros(SECONDS * RATE, np.float32)
    if len(latest):
        sound[-len(latest) :] = latest[-len(sound) :]
    # The model was trained on sounds of mean 0 and variance 1, over all eight seconds.
    sound = (sound - sound.mean()) / np.sqrt(sound.var() + np.float32(1e-7))
    return log_mel(sound, len(sound))[None]


def _resample(sound: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """Return a sound with another number of samples. The spectrum is cut or padded: a whole sound needs no filter."""
    bins = count // 2 + 1
    spectrum = np.fft.rfft(sound)[:bins]
    return np.asarray(np.fft.irfft(spectrum, count) * (count / max(1, len(sound))), np.float32)
