"""Sound counted in samples, and time counted in nanoseconds."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["SECOND", "Samples", "ns", "samples_in"]

SECOND: Final = 1_000_000_000
"""One second of media time: `pts` counts nanoseconds."""

Samples = npt.NDArray[np.int16]
"""16-bit sound: an array of shape `(n,)` for mono or `(n, channels)`."""


def ns(samples: int, rate: int) -> int:
    """Return how long `samples` last at `rate` Hz, in nanoseconds, rounded down.

    Convert a running count of samples, never a sum of converted pieces: rounded pieces drift apart from the sound.

    Args:
        samples: Number of samples of one channel.
        rate: Samples a second (Hz).
    """
    return samples * SECOND // rate


def samples_in(duration_ns: int, rate: int) -> int:
    """Return how many whole samples at `rate` Hz fit into `duration_ns` nanoseconds.

    Args:
        duration_ns: A duration in nanoseconds.
        rate: Samples a second (Hz).
    """
    return duration_ns * rate // SECOND
