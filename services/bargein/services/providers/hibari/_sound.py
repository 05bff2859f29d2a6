"""The sound of a voice, from what its network predicts: spectra and a pitch for each 12.5 ms.

The network's card describes the sum. Its spectrum is that of a train of pulses at the pitch, filtered; and noise,
shaped; and a part with phases of its own. The inverse short-time Fourier transform of the sum is the sound.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from bargein.pipeline.lowlevel import Samples

__all__ = ["HOP", "RATE", "to_samples"]

Floats = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]

RATE = 24_000
"""Samples a second (Hz)."""
HOP = 300
"""Samples from one spectrum to the next: 12.5 ms."""
WINDOW = 4 * HOP
"""Samples that one spectrum describes."""
MIN_PITCH = 40.0
"""Below this pitch (Hz) the network means that a sound has none."""
MAX_HARMONIC = 11_000.0
"""The highest frequency (Hz) of a pulse."""
MAX_LOG = 7.0
"""The greatest logarithm of a magnitude. A larger one would be an error of the network."""


def to_samples(spectra: tuple[Floats, Floats, Floats, Floats, Floats], pitch: Floats, seed: int) -> Samples:
    """Return the sound of one text.

    Args:
        spectra: The logarithm of the pulses' filter, its phase, and the logarithms of the noise and of the free part,
            and the phase of the free part; each of shape `(601, frames)`.
        pitch: The pitch of each frame in Hz.
        seed: Which noise to take. With the same seed a text sounds the same.
    """
    pulse_log, pulse_phase, noise_log, free_log, free_phase = spectra
    spectrum = _analyse(_pulses(pitch), len(pitch))
    spectrum *= _polar(pulse_log, np.float32(np.pi) * np.tanh(pulse_phase))
    noise = np.random.default_rng(seed).standard_normal((2, *noise_log.shape), np.float32)
    strength = _magnitude(noise_log)
    spectrum.real += strength * noise[0]
    spectrum.imag += strength * noise[1]
    spectrum += _polar(free_log, free_phase)
    sound = _synthesise(spectrum)
    return np.rint(np.clip(sound, -1, 1) * 32_767).astype(np.int16)


def _magnitude(log: Floats) -> Floats:
    return np.exp(np.minimum(log, MAX_LOG), dtype=np.float32)


def _polar(log: Floats, phase: Floats) -> Complex:
    result = np.empty(log.shape, np.complex64)
    magnitude = _magnitude(log)
    result.real = magnitude * np.cos(phase)
    result.imag = magnitude * np.sin(phase)
    return result


@cache
def _window() -> Floats:
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def _pulses(pitch: Floats) -> Floats:
    """Return the sum of all harmonics of the pitch, each of amplitude 1; silence where there is no pitch."""
    middles = (np.arange(len(pitch)) + 0.5) * HOP
    frequency = np.interp(np.arange(len(pitch) * HOP) + 0.5, middles, pitch)
    voiced = frequency > MIN_PITCH
    np.maximum(frequency, MIN_PITCH, out=frequency)
    phase = ((np.cumsum(frequency) / RATE) % 1.0 * 2 * np.pi).astype(np.float32)
    count = np.floor(MAX_HARMONIC / frequency).astype(np.float32)
    # cos(t) + cos(2t) + ... + cos(nt) in closed form; at t = 0 its limit is n.
    below = 2 * np.sin(phase / 2)
    at_limit = np.abs(below) < 2e-3
    below[at_limit] = 1
    total = np.where(at_limit, count, np.sin((count + 0.5) * phase) / below - 0.5)
    return np.where(voiced, total, 0).astype(np.float32)


def _analyse(sound: Floats, frames: int) -> Complex:
    """Return the spectra of a sound, of shape `(601, frames)`."""
    padded = np.pad(sound, WINDOW // 2, mode="reflect")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    spectra = np.fft.rfft(pieces * (_window() / HOP), axis=1)
    return np.ascontiguousarray(spectra.T, np.complex64)


def _synthesise(spectrum: Complex) -> Floats:
    """Return the sound whose spectra these are: overlapping windows, added and divided by their sum."""
    frames = spectrum.shape[1]
    pieces = (np.fft.irfft(spectrum.T, WINDOW, axis=1) * _window()).reshape(frames, 4, HOP)
    squares = (_window() ** 2).reshape(4, HOP)
    sound, weight = np.zeros((2, frames + 3, HOP), np.float32)
    for part in range(4):
        sound[part : part + frames] += pieces[:, part]
        weight[part : part + frames] += squares[part]
    whole: Floats = (sound / np.maximum(weight, 1e-11)).reshape(-1)
    return whole[WINDOW // 2 :][: frames * HOP]
