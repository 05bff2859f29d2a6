"""What does an Opus packet cost, and how does it sound?

For the settings that the WebRTC transport uses, those of aiortc, and some between: the CPU time for 20 ms, the bits,
and what the speech that was encoded and decoded is like beside the original: the mean distance of its spectra
(log-spectral distance up to 8 kHz, smaller is nearer) and its signal to noise, segment by segment. The speech is
synthetic. (aiortc's application filters the lowest tones, which the signal to noise takes for noise.)
"""

from __future__ import annotations

import time
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import numpy.typing as npt
from _kit import options, show

from bargein.pipeline import Audio
from bargein.processors import Resample
from bargein.services.media.voice_sender import BITRATE, COMPLEXITY

Samples = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
RATE = 48_000
WINDOW = 960
LOUD = 200
"""The root mean square of a segment that counts."""
SPEECH = Path(__file__).parents[1] / "tests" / "data" / "speech"


class Setting(msgspec.Struct, frozen=True):
    """How it is coded."""

    name: str
    rate: int
    layout: str
    application: str
    bitrate: int
    complexity: int


SETTINGS = [
    Setting("aiortc's", 48_000, "stereo", "voip", 96_000, 10),
    Setting("mono", 48_000, "mono", "voip", 96_000, 10),
    Setting("mono, fewer bits", 48_000, "mono", "voip", 32_000, 10),
    Setting("mono, fewer bits, complexity 0", 48_000, "mono", "voip", 32_000, 0),
    Setting("the transport's, 48 kHz", 48_000, "mono", "lowdelay", BITRATE, COMPLEXITY),
    Setting("the transport's, 24 kHz", 24_000, "mono", "lowdelay", BITRATE, COMPLEXITY),
    Setting("the transport's, complexity 10", 24_000, "mono", "lowdelay", BITRATE, 10),
]


def speech(rate: int) -> Samples:
    """Some sentences."""
    found = []
    for name in ("long", "order", "table"):
        with wave.open(str(SPEECH / f"{name}.wav")) as file:
            found.append(np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16))
            source = file.getframerate()
    frames = list(Resample(rate).process(Audio(samples=np.concatenate(found), rate=source)))
    return np.concatenate([frame.samples for frame in frames if isinstance(frame, Audio)])


def encoded(samples: Samples, setting: Setting) -> tuple[list[bytes], float]:
    """The packets, and microseconds for each."""
    codec: Any = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout, codec.sample_rate = setting.bitrate, "s16", setting.layout, setting.rate
    codec.time_base = Fraction(1, setting.rate)
    codec.options = {"application": setting.application, "compression_level": str(setting.complexity)}
    step, packets = setting.rate // 50, []
    began = time.process_time()
    for at in range(0, len(samples) - step + 1, step):
        piece = samples[at : at + step]
        if setting.layout == "stereo":
            piece = np.repeat(piece, 2)
        frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout=setting.layout)
        frame.sample_rate, frame.pts, frame.time_base = setting.rate, at, Fraction(1, setting.rate)
        packets += codec.encode(frame)
    return [bytes(packet) for packet in packets], 1e6 * (time.process_time() - began) / len(packets)


def decoded(packets: list[bytes]) -> Floats:
    """What a listener hears."""
    codec: Any = av.CodecContext.create("libopus", "r")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", RATE
    frames = [frame for packet in packets for frame in codec.decode(av.Packet(packet))]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float64)


def aligned(original: Floats, heard: Floats) -> tuple[Floats, Floats, int]:
    """Both without the coder's delay, which is found by correlation."""
    middle = slice(RATE, 3 * RATE)
    lags = range(800)
    products = [float(original[middle] @ heard[middle.start + lag : middle.stop + lag]) for lag in lags]
    lag = int(np.argmax(products))
    count = min(len(original), len(heard) - lag)
    return original[:count], heard[lag : lag + count], lag


def compared(original: Floats, heard: Floats) -> tuple[float, float]:
    """The mean spectral distance and the mean signal to noise, in dB, of what is loud."""
    distances, ratios, shape = [], [], np.hanning(WINDOW)
    for at in range(0, len(original) - WINDOW, WINDOW // 2):
        one, other = original[at : at + WINDOW], heard[at : at + WINDOW]
        if np.sqrt(np.mean(one**2)) < LOUD:
            continue
        spectra = [20 * np.log10(np.abs(np.fft.rfft(each * shape))[1:160] + 50) for each in (one, other)]
        distances.append(np.sqrt(np.mean((spectra[0] - spectra[1]) ** 2)))
        ratios.append(np.clip(10 * np.log10(np.sum(one**2) / np.sum((one - other) ** 2)), -10, 35))
    return float(np.mean(distances)), float(np.mean(ratios))


def measure(setting: Setting) -> dict[str, float]:
    """All there is to say of a setting."""
    packets, us = encoded(speech(setting.rate), setting)
    us = min([us, *(encoded(speech(setting.rate), setting)[1] for _ in range(2))])
    original, heard, lag = aligned(speech(RATE).astype(np.float64), decoded(packets))
    distance, ratio = compared(original, heard)
    return {
        "us": round(us),
        "kbps": round(sum(map(len, packets)) * 8 / len(packets) / 20),
        "delay_ms": round(1000 * lag / RATE, 1),
        "distance_db": round(distance, 2),
        "snr_db": round(ratio, 1),
    }


if __name__ == "__main__":
    arguments = options(__doc__)
    result = {setting.name: measure(setting) for setting in (SETTINGS[::4] if arguments.quick else SETTINGS)}
    form = "  {us:4d} us a packet, {kbps:4d} kbit/s, {delay_ms:4.1f} ms late, spectra {distance_db:4.2f} dB apart, "
    form += "{snr_db:4.1f} dB of signal to noise"
    show(arguments, "\n".join(["opus", *(f"{name:32s}{form.format(**each)}" for name, each in result.items())]), result)
