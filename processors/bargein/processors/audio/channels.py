"""Convert between mono and stereo."""

from __future__ import annotations

import numpy as np

from bargein.pipeline.lowlevel import Samples

__all__ = ["mix_channels"]


def mix_channels(samples: Samples, channels: int) -> Samples:
    """Return the samples with another number of channels.

    Mono is the mean of all channels; stereo is mono on both sides.

    Args:
        samples: `int16` of shape `(n,)` or `(n, channels)`.
        channels: 1 or 2.
    """
    have = 1 if samples.ndim == 1 else samples.shape[1]
    if have == channels:
        return samples if samples.ndim == 1 or channels > 1 else samples.reshape(-1)
    if channels == 1:
        mean: Samples = np.rint(samples.mean(axis=1)).astype(np.int16)
        return mean
    return np.repeat(samples.reshape(-1, 1), 2, axis=1)
