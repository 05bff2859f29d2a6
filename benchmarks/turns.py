"""How well and how soon is speech heard? WebRTC's detector and Silero's side by side, in noise of several levels.

Thirty-two synthesised utterances (`tests/data/speech`), each between two seconds of what is around it and 1.5 s of the
same, cut into 20 ms frames. For each detector and level of noise: utterances missed, false starts, how long after
speech began that was noticed (median, worst), how far off the time given for it was, the same for its end, and the
time from the end of speech to the user's turn with the default settings.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _kit import clock, options, show

from bargein.pipeline import Audio, End, SpeechStarted, SpeechStopped
from bargein.pipeline.testing import framed
from bargein.processors import SileroVad, Turns, Vad, WebRtcVad

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.speech import Utterance, utterances

DETECTORS = {"WebRTC alone": lambda: WebRtcVad(above_noise_db=0), "WebRTC": WebRtcVad, "Silero": SileroVad}
LEVELS: tuple[float | None, ...] = (None, 20, 10, 5, 0)
BEFORE, AFTER = 2000, 1500
NEAR = 150
"""A start up to this many milliseconds before the speech counts as its start."""


def pink(count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Noise like that of rooms and streets, of power 1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    noise = np.fft.irfft(spectrum, count)
    return np.asarray(noise / noise.std())


def sound(each: Utterance, snr: float | None, seed: int) -> list[Audio]:
    """An utterance in noise."""
    said = each.samples.astype(float)
    power = np.mean(np.concatenate([said[a * 16 : b * 16] for a, b in each.speech_ms]) ** 2)
    samples = np.concatenate([np.zeros(BEFORE * 16), said, np.zeros(AFTER * 16)])
    if snr is not None:
        samples = samples + pink(len(samples), seed) * math.sqrt(power / 10 ** (snr / 10))
    return list(framed(np.clip(np.rint(samples), -32768, 32767).astype(np.int16)))


def measure(make: Callable[[], object], snr: float | None, seeds: range) -> dict[str, float]:
    """One row of the table, in milliseconds."""
    missed = false = count = 0
    began, noticed, ended, told, spent = [], [], [], [], 0.0
    for seed in seeds:
        for index, each in enumerate(utterances().values()):
            frames: list[Audio | End] = [*sound(each, snr, 100 * seed + index), End()]
            vad = Vad(make())  # type: ignore[arg-type]
            since = clock()
            out = [made for frame in frames for made in vad.process(frame)]
            spent += clock() - since
            count += len(frames)
            first, last = BEFORE + each.speech_ms[0][0], BEFORE + each.speech_ms[-1][1]
            starts = [frame for frame in out if isinstance(frame, SpeechStarted)]
            good = [frame for frame in starts if first - NEAR <= frame.pts / 1e6 <= last]
            false += len(starts) - len(good)
            if not good:
                missed += 1
                continue
            began.append(good[0].pts / 1e6 - first)
            noticed.append(began[-1] + good[0].lag_ms)
            stop = next(frame for frame in out if isinstance(frame, SpeechStopped) and frame.pts > good[-1].pts)
            ended.append(stop.pts / 1e6 - last)
            silence = Turns().silence_ms
            assert isinstance(silence, float)
            told.append(ended[-1] + max(stop.lag_ms, silence))

    def middle(values: list[float]) -> float:
        return statistics.median(values) if values else math.nan

    return {
        "utterances": len(seeds) * len(utterances()),
        "missed": missed,
        "false starts": false,
        "began": middle(began),
        "noticed": middle(noticed),
        "noticed, worst": max(noticed, default=math.nan),
        "ended": middle(ended),
        "turn": middle(told),
        "us a frame": 1e6 * spent / count,
    }


def main() -> None:
    arguments = options(__doc__)
    seeds = range(1 if arguments.quick else 3)
    rows = {
        f"{name}, {'clean' if snr is None else f'{snr} dB'}": measure(make, snr, seeds)
        for name, make in DETECTORS.items()
        for snr in LEVELS
    }
    head = list(next(iter(rows.values())))
    lines = [f"{'ms':22}" + "".join(f"{each:>15}" for each in head)]
    for name, row in rows.items():
        lines.append(
            f"{name:22}" + "".join(f"{'-' if math.isnan(row[each]) else round(row[each]):>15}" for each in head)
        )
    show(arguments, "\n".join(lines), {"rows": rows})


if __name__ == "__main__":
    main()
