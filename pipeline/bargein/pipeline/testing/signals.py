"""Test signals: tones, silence, noise and speech-like sound. The same arguments result in the same samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from bargein.pipeline._samples import Samples, ns
from bargein.pipeline.frames import LIVE, Audio

__all__ = ["framed", "joined", "noise", "silence", "speech_like", "tone"]


def tone(frequency_hz: float = 440.0, ms: float = 1000.0, *, rate: int = 16_000, dbfs: float = -12.0) -> Samples:
    """Return a sine tone: `int16`, shape `(n,)`.

    Args:
        frequency_hz: Frequency in Hz. Default 440.
        ms: Length in milliseconds. Default 1000.
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Level in decibels relative to a full-scale sine. Default -12.
    """
    time = np.arange(_count(ms, rate)) / rate
    return _as_int16(np.sin(2 * np.pi * frequency_hz * time) * _amplitude(dbfs))


def silence(ms: float = 1000.0, *, rate: int = 16_000) -> Samples:
    """Return silence: zeros of `ms` milliseconds at `rate` Hz.

    Args:
        ms: Length in milliseconds. Default 1000.
        rate: Samples a second (Hz). Default 16,000.
    """
    return np.zeros(_count(ms, rate), np.int16)


def noise(ms: float = 1000.0, *, rate: int = 16_000, dbfs: float = -30.0, seed: int = 0) -> Samples:
    """Return white noise.

    Args:
        ms: Length in milliseconds. Default 1000.
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Root mean square in decibels relative to that of a full-scale sine. Default -30.
        seed: Seed of the random numbers. Default 0.
    """
    values = np.random.default_rng(seed).standard_normal(_count(ms, rate))
    return _as_int16(values * _amplitude(dbfs) / np.sqrt(2))


def speech_like(ms: float = 1000.0, *, rate: int = 16_000, dbfs: float = -12.0, seed: int = 0) -> Samples:
    """Return sound like speech: a voice of about 120 Hz with formants, four to five syllables a second, short gaps.

    Energy, pitch and rhythm are those of speech, so level meters and simple voice-activity detectors react. It has no
    words, so a recogniser finds nothing.

    Args:
        ms: Length in milliseconds. Default 1000.
        rate: Samples a second (Hz). Default 16,000.
        dbfs: Peak in decibels relative to full scale. Default -12.
        seed: Seed of the random numbers. Default 0.
    """
    random = np.random.default_rng(seed)
    count = _count(ms, rate)
    time = np.arange(count) / rate
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.7 * time + random.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = np.zeros(count)
    for harmonic in range(1, 30):
        frequency = 120 * harmonic
        if frequency >= rate / 2:
            break
        formants = sum(np.exp(-(((frequency - centre) / width) ** 2)) for centre, width in _FORMANTS)
        voice += (formants + 0.02) * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 4.5 * time + random.uniform(0, 1)) + 0.6, 0, 1)
    voice *= syllables
    peak = float(np.max(np.abs(voice))) if count else 1.0
    return _as_int16(voice / (peak or 1.0) * _amplitude(dbfs))


_FORMANTS = ((500, 150), (1500, 250), (2500, 350))


def framed(
    samples: Samples, *, rate: int = 16_000, ms: float = 20.0, epoch: int = LIVE, response_id: str = "", start: int = 0
) -> Iterator[Audio]:
    """Cut samples into frames, with `pts` counted from samples. The last frame may be shorter.

    Args:
        samples: The samples.
        rate: Samples a second (Hz). Default 16,000.
        ms: Length of a frame in milliseconds. Default 20.
        epoch: Epoch of the frames. Default `LIVE`.
        response_id: Id of the response that the frames belong to.
        start: Index of the first sample in its stream. Default 0.
    """
    step = _count(ms, rate)
    for at in range(0, len(samples), step):
        yield Audio(samples[at : at + step], rate, pts=ns(start + at, rate), epoch=epoch, response_id=response_id)


def joined(frames: Iterable[object]) -> Samples:
    """Return the samples of all audio frames among `frames`, end to end.

    Args:
        frames: Frames of any class; those without audio are ignored.
    """
    parts = [frame.samples for frame in frames if isinstance(frame, Audio)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def _count(ms: float, rate: int) -> int:
    return round(ms * rate / 1000)


def _amplitude(dbfs: float) -> float:
    return float(32767 * 10 ** (dbfs / 20))


def _as_int16(values: npt.NDArray[np.float64]) -> Samples:
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)
