"""What does each processor cost for a 20 ms frame of 16 kHz, and what does the resampler do to the sound?

Microseconds a frame for every processor of sound, beside a bare generator; a piece of text of four letters for those
of text, a picture of 640x480 for those of video. For every pair of rates the resampler's delay
and signal-to-noise ratio at 1 kHz, of which the worst are printed (`--json` has all).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _kit import Plain, best, clock, options, show

from bargein.pipeline import Audio, End, Frame, Text, Video
from bargein.pipeline.testing import framed, joined, speech_like, tone
from bargein.processors import (
    DecodePicture,
    EncodeJpeg,
    Gain,
    Meter,
    Mixer,
    Overlay,
    Recorder,
    Resample,
    SampleFps,
    Scale,
    Sentences,
    SileroVad,
    Spoken,
    Tap,
    Vad,
    WebRtcVad,
)

RATES = (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
SPEECH = list(framed(speech_like(1000)))
REPLY = list(framed(speech_like(1000), response_id="r"))
LETTERS = "It is raining in Paris today, so take an umbrella with you. " * 4
WRITTEN = [Text(text=LETTERS[at : at + 4], response_id="r") for at in range(0, len(LETTERS), 4)]
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8).repeat(10, 0).repeat(10, 1)
PICTURES = [Video(data=PIXELS, pts=at * 33_333_333) for at in range(10)]
JPEGS = [Video(data=next(iter(EncodeJpeg().process(each))).data, format="jpeg", pts=each.pts) for each in PICTURES]

WORK: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "pass": (Plain, SPEECH),
    "Gain": (lambda: Gain(-6), SPEECH),
    "Meter": (Meter, SPEECH),
    "Mixer": (lambda: Mixer(Audio(samples=speech_like(1000), rate=16_000)), REPLY),
    "Recorder.agent": (lambda: recording().agent, REPLY),
    "Recorder.user": (lambda: recording().user, SPEECH),
    "Resample 16->24 kHz": (lambda: Resample(24_000), SPEECH),
    "Resample 16->8 kHz": (lambda: Resample(8000), SPEECH),
    "Sentences": (Sentences, WRITTEN),
    "Spoken": (Spoken, REPLY),
    "Tap": (lambda: Tap(lambda frame: None, Audio), SPEECH),
    "Vad (Silero)": (lambda: Vad(SileroVad()), SPEECH),
    "Vad (WebRTC)": (lambda: Vad(WebRtcVad()), SPEECH),
    "DecodePicture": (DecodePicture, JPEGS),
    "EncodeJpeg": (EncodeJpeg, PICTURES),
    "Overlay": (lambda: Overlay(lambda pixels, frame: None), PICTURES),
    "SampleFps": (lambda: SampleFps(10), PICTURES),
    "Scale to 320x240": (lambda: Scale(320, 240), PICTURES),
}
FOLDER = tempfile.TemporaryDirectory()
NAMES = itertools.count()


def recording() -> Recorder:
    """One that has been opened."""
    recorder = Recorder(Path(FOLDER.name) / f"{next(NAMES)}.wav")
    recorder.user.__enter__()
    recorder.agent.__enter__()
    return recorder


def cost(make: Callable[[], Any], frames: list[Frame], rounds: int) -> float:
    """Microseconds a frame."""
    times = []
    for _ in range(5):
        process = make().process
        began = clock()
        for _ in range(rounds):
            for frame in frames:
                for _ in process(frame):
                    pass
        times.append((clock() - began) / len(frames) / rounds)
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
    rounds = 1 if arguments.quick else 10
    costs = {name: cost(make, frames, rounds) for name, (make, frames) in WORK.items()}
    pairs = {f"{a}->{b}": quality(a, b) for a, b in itertools.permutations(RATES, 2)}
    delay = max(pairs, key=lambda pair: pairs[pair][0])
    noise = min(pairs, key=lambda pair: pairs[pair][1])
    line = "µs a frame: " + ", ".join(f"{name} {each:.1f}" for name, each in costs.items())
    line += (
        f"; the resampler's worst delay {pairs[delay][0]:.2f} ms ({delay} Hz), "
        f"worst signal to noise {pairs[noise][1]:.0f} dB ({noise} Hz)"
    )
    show(arguments, line, {"us": costs, "resample": pairs, "ratio": costs["Gain"] / costs["pass"]})


if __name__ == "__main__":
    main()
