"""The formats of sound on the wire: 16-bit PCM, and G.711 for telephones."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Codec", "codec"]

Samples = npt.NDArray[np.int16]


class Codec:
    """A format of the wire."""

    def __init__(self, name: str, rate: int, width: int) -> None:
        self.name = name
        """`audio/pcm`, `audio/pcmu` or `audio/pcma`."""
        self.rate = rate
        """Samples a second (Hz)."""
        self.width = width
        """Bytes of a sample."""

    def ms(self, size: int) -> float:
        """How long so many bytes sound."""
        return 1000 * size / (self.width * self.rate)

    def decode(self, data: bytes) -> Samples:
        """Bytes as samples."""
        if self.width == 2:
            return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        return _decoding(self.name)[np.frombuffer(data, np.uint8)]

    def encode(self, samples: Samples) -> bytes:
        """Samples as bytes."""
        if self.width == 2:
            return samples.astype("<i2", copy=False).tobytes()
        return _encoding(self.name)[samples.view(np.uint16)].tobytes()


_WIDTHS = {"audio/pcm": 2, "audio/pcmu": 1, "audio/pcma": 1}


def codec(form: Mapping[str, Any]) -> Codec:
    """The codec of a session's `format`: PCM has 24 kHz unless it says otherwise, G.711 8 kHz. Always the same."""
    name = form["type"]
    return _codec(name, form.get("rate", 24_000) if name == "audio/pcm" else 8_000)


@cache
def _codec(name: str, rate: int) -> Codec:
    return Codec(name, rate, _WIDTHS[name])


@cache
def _decoding(name: str) -> Samples:
    """The sample of each of 256 bytes (ITU-T G.711)."""
    code = np.arange(256, dtype=np.int32)
    if name == "audio/pcmu":
        code = ~code & 0xFF
        size = ((((code & 15) << 3) + 132) << (code >> 4 & 7)) - 132
        return np.where(code & 128, -size, size).astype(np.int16)
    code ^= 0x55
    step, low = code >> 4 & 7, (code & 15) << 4
    size = np.where(step == 0, low + 8, (low + 264) << np.maximum(step - 1, 0))
    return np.where(code & 128, size, -size).astype(np.int16)


@cache
def _encoding(name: str) -> npt.NDArray[np.uint8]:
    """The byte of each of 65,536 samples, by their bits as a number without sign."""
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    if name == "audio/pcmu":
        size = np.minimum(np.abs(sample), 32_635) + 132
        step = np.log2(size).astype(np.int32) - 7
        code = np.where(sample < 0, 128, 0) | step << 4 | size >> (step + 3) & 15
        return np.asarray(~code & 0xFF, np.uint8)
    size = np.where(sample < 0, ~sample, sample)
    step = np.maximum(np.log2(np.maximum(size, 1)).astype(np.int32) - 7, 0)
    code = np.where(sample < 0, 0, 128) | step << 4 | size >> np.where(step, step + 3, 4) & 15
    return np.asarray(code ^ 0x55, np.uint8)
