"""The log-mel spectrogram that Whisper and its relatives hear, as OpenAI's reference implementation computes it."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from bargein.pipeline.lowlevel import Samples

__all__ = ["HOP", "RATE", "log_mel", "to_float"]

Floats = npt.NDArray[np.float32]

RATE = 16_000
"""Samples a second (Hz)."""
HOP = 160
"""Samples from one column of the spectrogram to the next: 10 ms."""
WINDOW = 400
"""Samples of which one column is computed: 25 ms."""
MAX_MEL = 45.245640471924965
"""8,000 Hz on Slaney's mel scale, which is linear below 1,000 Hz (mel 15) and logarithmic above."""


def to_float(samples: Samples) -> Floats:
    """Return 16-bit samples as numbers from -1 to 1.

    Args:
        samples: `int16`.
    """
    return np.asarray(samples, np.float32) / np.float32(32_768)


def log_mel(samples: Floats, context: int, bands: int = 80) -> Floats:
    """Return the spectrogram of a sound, with silence after it.

    Args:
        samples: Mono, 16,000 Hz; from -1 to 1 for Whisper.
        context: Length of the sound with that silence, in samples; a multiple of `HOP`.
        bands: Rows of the spectrogram: 80, or 128 for the model large-v3 and those derived from it.

    Returns:
        An array of shape `(bands, context // HOP)`.
    """
    sound = np.zeros(context, np.float32)
    sound[: len(samples)] = samples
    sound = np.pad(sound, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[:-1:HOP][: context // HOP]
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)).astype(np.float32) ** 2
    found = np.log10(np.maximum(_filters(bands) @ power.T, 1e-10))
    return np.ascontiguousarray((np.maximum(found, found.max() - 8) + 4) / 4, np.float32)


@cache
def _filters(bands: int) -> Floats:
    """Return the weights of the mel bands, of shape `(bands, 201)`: triangles of equal area on Slaney's scale."""
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    mels = np.linspace(0, MAX_MEL, bands + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1_000 * np.exp((mels - 15) * np.log(6.4) / 27))
    distances = edges[:, None] - frequencies
    widths = np.diff(edges)[:, None]
    weights = np.maximum(0, np.minimum(-distances[:-2] / widths[:-1], distances[2:] / widths[1:]))
    filters: Floats = (weights * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    return filters
