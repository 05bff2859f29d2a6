"""Mono and stereo."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["mixed"]

Samples = npt.NDArray[np.int16]


def mixed(samples: Samples, channels: int) -> Samples:
    """Mono from the mean of both sides, or both sides from mono."""
    have = 1 if samples.ndim == 1 else samples.shape[1]
    if have == channels:
        return samples if samples.ndim == 1 or channels > 1 else samples.reshape(-1)
    if channels == 1:
        mean: Samples = np.rint(samples.mean(axis=1)).astype(np.int16)
        return mean
    return np.repeat(samples.reshape(-1, 1), 2, axis=1)
