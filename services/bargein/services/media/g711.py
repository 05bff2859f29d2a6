"""`Codec`: the formats of sound on the wire, 16-bit PCM and the telephone's G.711."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bargein.pipeline.lowlevel import Samples, check_options

__all__ = ["Codec", "codec"]


class Codec:
    """A format of sound on the wire.

    Args:
        name: `audio/pcm`, `audio/pcmu` (µ-law) or `audio/pcma` (A-law).
        rate: Rate in samples a second (Hz).
        sample_bytes: Bytes of a sample.
    """

    @check_options
    def __init__(self, name: str, rate: int, sample_bytes: int) -> None:
        self.name = name
        """`audio/pcm`, `audio/pcmu` or `audio/pcma`."""
        self.rate = rate
        """Rate in samples a second (Hz)."""
        self.sample_bytes = sample_bytes
        """Bytes of a sample."""

    def ms(self, size_bytes: int) -> float:
        """Return the length of encoded sound in milliseconds.

        Args:
            size_bytes: Number of bytes of encoded sound.
        """
        return 1000 * size_bytes / (self.sample_bytes * self.rate)

    def decode(self, data: bytes) -> Samples:
        """Return the samples of encoded sound.

        Args:
            data: A whole number of encoded samples, mono.
        """
        if self.sample_bytes == 2:
            # The wire is little-endian. On a little-endian machine `astype` copies nothing.
            return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        return _decoding_table(self.name)[np.frombuffer(data, np.uint8)]

    def encode(self, samples: Samples) -> bytes:
        """Return samples as encoded sound.

        Args:
            samples: Samples at the codec's rate, mono.
        """
        if self.sample_bytes == 2:
            return samples.astype("<i2", copy=False).tobytes()
        return _encoding_table(self.name)[samples.view(np.uint16)].tobytes()


_WIDTHS = {"audio/pcm": 2, "audio/pcmu": 1, "audio/pcma": 1}


def codec(audio_format: Mapping[str, Any]) -> Codec:
    """Return the codec of a session's `format`, always the same object for the same format.

    Args:
        audio_format: `type`, and for PCM perhaps `rate`. PCM has 24 kHz by default, G.711 always 8 kHz.
    """
    name = audio_format["type"]
    return _codec(name, audio_format.get("rate", 24_000) if name == "audio/pcm" else 8_000)


@cache
def _codec(name: str, rate: int) -> Codec:
    return Codec(name, rate, _WIDTHS[name])


# Both directions look up a table, because there are only 256 codes and 65,536 samples. Computing the logarithm of each
# sample would cost more than the rest of a call.
@cache
def _decoding_table(name: str) -> Samples:
    """Return the sample of each of the 256 bytes (ITU-T G.711)."""
    code = np.arange(256, dtype=np.int32)
    if name == "audio/pcmu":
        # µ-law sends all bits inverted. 132 is the bias of the standard (33, in numbers of 14 bits): with it, each
        # segment begins at a power of two.
        code = ~code & 0xFF
        size = ((((code & 15) << 3) + 132) << (code >> 4 & 7)) - 132
        return np.where(code & 128, -size, size).astype(np.int16)
    # A-law sends every second bit inverted. Its lowest segment is linear, so it lacks the leading one of the others.
    # The 8 is half a step: the middle of an interval is the nearest sample on average.
    code ^= 0x55
    step, low = code >> 4 & 7, (code & 15) << 4
    size = np.where(step == 0, low + 8, (low + 264) << np.maximum(step - 1, 0))
    return np.where(code & 128, size, -size).astype(np.int16)


@cache
def _encoding_table(name: str) -> npt.NDArray[np.uint8]:
    """Return the byte of each of the 65,536 samples, indexed by the sample's bits as an unsigned number."""
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    if name == "audio/pcmu":
        # Above 32,635 the bias would need a 16th bit. In double precision, `log2` is exact enough that no size just
        # below a power of two is rounded up to it.
        size = np.minimum(np.abs(sample), 32_635) + 132
        step = np.log2(size).astype(np.int32) - 7
        code = np.where(sample < 0, 128, 0) | step << 4 | size >> (step + 3) & 15
        return np.asarray(~code & 0xFF, np.uint8)
    # `~` and not `-`: A-law is symmetric around -0.5, so 0 and -1 have the same size. It also keeps -32,768 in range.
    size = np.where(sample < 0, ~sample, sample)
    step = np.maximum(np.log2(np.maximum(size, 1)).astype(np.int32) - 7, 0)
    code = np.where(sample < 0, 0, 128) | step << 4 | size >> np.where(step, step + 3, 4) & 15
    return np.asarray(code ^ 0x55, np.uint8)
