"""Sounds of a room that are not speech. The same arguments give the same samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bargein.pipeline._samples import Samples

__all__ = ["breath", "click", "cough", "hum", "keyboard", "music", "slam"]

Floats = npt.NDArray[np.float64]


def click(*, rate: int = 16_000, dbfs: float = -6.0, seed: int = 0) -> Samples:
    """Return a click of 5 ms, such as that of a switch or a mouse.

    Args:
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -6.
        seed: Seed of the random numbers. Default 0.
    """
    count = round(0.005 * rate)
    return _scaled(_random(count, seed) * np.exp(-np.arange(count) / (0.001 * rate)), dbfs)


def cough(*, rate: int = 16_000, dbfs: float = -10.0, seed: int = 0) -> Samples:
    """Return a cough of about 400 ms: a burst of air, a hoarse decay, and a second, weaker burst.

    Args:
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -10.
        seed: Seed of the random numbers. Default 0.
    """
    count = round(0.4 * rate)
    time = np.arange(count) / rate
    burst = np.exp(-time / 0.07) + 0.6 * np.where(time > 0.22, np.exp(-(time - 0.22) / 0.05), 0)
    air = _shaped(_random(count, seed), rate, low=300, high=5000, slope=0.3)
    throat = _shaped(_random(count, seed + 1), rate, low=100, high=900, slope=1.0)
    return _scaled((air / air.std() + 0.5 * throat / throat.std()) * burst * np.minimum(1, time / 0.008), dbfs)


def slam(*, rate: int = 16_000, dbfs: float = -6.0, seed: int = 0) -> Samples:
    """Return a door that slams: 300 ms of decaying low noise and a rattle.

    Args:
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -6.
        seed: Seed of the random numbers. Default 0.
    """
    count = round(0.3 * rate)
    time = np.arange(count) / rate
    boom = _shaped(_random(count, seed), rate, low=40, high=400, slope=1.0)
    rattle = _shaped(_random(count, seed + 1), rate, low=400, high=6000, slope=0.5)
    decay = np.exp(-time / 0.06)
    return _scaled((boom / boom.std() + 0.4 * rattle / rattle.std() * decay) * decay, dbfs)


def breath(ms: float = 900.0, *, rate: int = 16_000, dbfs: float = -24.0, seed: int = 0) -> Samples:
    """Return a breath into a microphone: noise that swells and fades.

    Args:
        ms: Length in milliseconds. Default 900.
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -24.
        seed: Seed of the random numbers. Default 0.
    """
    count = round(ms * rate / 1000)
    air = _shaped(_random(count, seed), rate, low=200, high=6000, slope=0.5)
    return _scaled(air * np.sin(np.pi * np.arange(count) / count) ** 2, dbfs)


def keyboard(ms: float = 2000.0, *, rate: int = 16_000, dbfs: float = -14.0, seed: int = 0) -> Samples:
    """Return the sound of typing: about seven key strokes a second, each a click down and a weaker one up.

    Args:
        ms: Length in milliseconds. Default 2000.
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -14.
        seed: Seed of the random numbers. Default 0.
    """
    random = np.random.default_rng(seed)
    count = round(ms * rate / 1000)
    typed = np.zeros(count)
    at = 0
    while at < count:
        for offset, level in ((0, random.uniform(0.5, 1.0)), (round(0.07 * rate), 0.3)):
            length = min(round(0.02 * rate), count - at - offset)
            if length > 0:
                stroke = random.standard_normal(length) * np.exp(-np.arange(length) / (0.004 * rate))
                typed[at + offset : at + offset + length] += level * stroke
        at += round(random.uniform(0.1, 0.2) * rate)
    return _scaled(typed, dbfs)


def hum(ms: float = 2000.0, *, rate: int = 16_000, dbfs: float = -24.0, frequency_hz: float = 50.0) -> Samples:
    """Return the hum of the mains or a fan: a tone with many overtones.

    Args:
        ms: Length in milliseconds. Default 2000.
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -24.
        frequency_hz: Frequency of the lowest tone in Hz. Default 50.
    """
    time = np.arange(round(ms * rate / 1000)) / rate
    overtones = range(1, min(30, int(rate / 2 / frequency_hz)))
    return _scaled(sum((np.sin(2 * np.pi * frequency_hz * each * time) / each for each in overtones), 0 * time), dbfs)


def music(ms: float = 4000.0, *, rate: int = 16_000, dbfs: float = -18.0, seed: int = 0) -> Samples:
    """Return sound like music: chords of three plucked strings, two a second.

    Args:
        ms: Length in milliseconds. Default 4000.
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -18.
        seed: Seed of the random numbers. Default 0.
    """
    random = np.random.default_rng(seed)
    count = round(ms * rate / 1000)
    played = np.zeros(count)
    for start in range(0, count, rate // 2):
        time = np.arange(count - start) / rate
        root = 110 * 2 ** (random.integers(0, 12) / 12)
        for note in (root, root * 2 ** (4 / 12), root * 2 ** (7 / 12)):
            for overtone in range(1, 7):
                played[start:] += np.sin(2 * np.pi * note * overtone * time) * np.exp(-time * 3 * overtone) / overtone
    return _scaled(played, dbfs)


def _random(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(count)


def _shaped(values: Floats, rate: int, *, low: float, high: float, slope: float) -> Floats:
    """Return noise between two frequencies (Hz), whose amplitude falls with a power of the frequency."""
    spectrum = np.fft.rfft(values)
    frequencies = np.maximum(np.fft.rfftfreq(len(values), 1 / rate), 1.0)
    spectrum *= (frequencies / low) ** -slope * ((frequencies >= low) & (frequencies <= high))
    return np.fft.irfft(spectrum, len(values))


def _scaled(values: Floats, dbfs: float) -> Samples:
    peak = float(np.max(np.abs(values), initial=0.0)) or 1.0
    return np.rint(values / peak * 32767 * 10 ** (dbfs / 20)).astype(np.int16)
