"""What does each processor cost for a 20 ms frame of 16 kHz, and what does the resampler do to the sound?

Microseconds a frame for every audio processor, beside a bare generator; for every pair of rates the resampler's delay
and signal-to-noise ratio at 1 kHz, of which the worst are printed (`--json` has all).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from _kit import Plain, best, clock, options, show
from bargein.pipeline import Audio, End
from bargein.pipeline.testing import framed, joined, speech_like, tone
from bargein.processors import Gain, Meter, Resample, Tap

RATES = (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
PROCESSORS: dict[str, Callable[[], Any]] = {
    "pass": Plain,
    "Gain": lambda: Gain(-6),
    "Meter": Meter,
    "Resample 16->24 kHz": lambda: Resample(24_000),
    "Resample 16->8 kHz": lambda: Resample(8000),
    "Tap": lambda: Tap(lambda frame: None, Audio),
}


def cost(make: Callable[[], Any], seconds: float) -> float:
    """Microseconds a frame."""
    frames = list(framed(speech_like(1000))) * round(seconds)
    times = []
    for _ in range(5):
        process = make().process
        began = clock()
        for frame in frames:
            for _ in process(frame):
                pass
        times.append((clock() - began) / len(frames))
    return 1e6 * best(times)


def quality(before: int, after: int) -> tuple[float, float]:
    """Milliseconds held back after the first 20 ms, and the signal-to-noise ratio in dB of a 1 kHz sine."""
    processor = Resample(after)
    frames: list[Any] = list(framed(tone(1000, 1000, rate=before, dbfs=-4), rate=before))
    out = [list(processor.process(frame)) for frame in [*frames, End()]]
    delay = 20 - 1000 * len(joined(out[0])) / after
    samples = joined(frame for made in out for frame in made)[after // 10 : -after // 10].astype(float)
    time = np.arange(len(samples)) / after
    basis = np.stack([np.sin(2000 * np.pi * time), np.cos(2000 * np.pi * time)], axis=1)
    signal = basis @ np.linalg.lstsq(basis, samples, rcond=None)[0]
    return delay, float(10 * np.log10(np.mean(signal**2) / np.mean((samples - signal) ** 2)))


def main() -> None:
    arguments = options(__doc__)
    costs = {name: cost(make, 1 if arguments.quick else 10) for name, make in PROCESSORS.items()}
    pairs = {f"{a}->{b}": quality(a, b) for a, b in itertools.permutations(RATES, 2)}
    delay = max(pairs, key=lambda pair: pairs[pair][0])
    noise = min(pairs, key=lambda pair: pairs[pair][1])
    line = "µs a 20 ms frame: " + ", ".join(f"{name} {each:.1f}" for name, each in costs.items())
    line += (
        f"; the resampler's worst delay {pairs[delay][0]:.2f} ms ({delay} Hz), "
        f"worst signal to noise {pairs[noise][1]:.0f} dB ({noise} Hz)"
    )
    show(arguments, line, {"us": costs, "resample": pairs, "ratio": costs["Gain"] / costs["pass"]})


if __name__ == "__main__":
    main()
