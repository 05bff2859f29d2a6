"""Frames of media: sound, moving pictures and still pictures."""

from __future__ import annotations

from typing import Final, Self

import msgspec
import numpy as np
import numpy.typing as npt

from bargein.pipeline._fields import UncheckedFields
from bargein.pipeline._samples import SECOND, Samples, ns
from bargein.pipeline.errors import FrameError

from ._base import LIVE, Frame, ReplyFrame, describe, payload

__all__ = ["Audio", "Image", "Video"]

_INT16: Final = np.dtype(np.int16)
_UINT8: Final = np.dtype(np.uint8)
_PLANES: Final = {"rgb24": 3, "bgr24": 3, "rgba": 4, "gray8": 0}
_ENCODED: Final = ("jpeg", "png", "webp")


def _equal(one: Frame, other: object) -> bool:
    """Compare frames that hold arrays: the same class, the same fields, the same contents.

    msgspec's own comparison would ask an array for its truth value, and numpy refuses to answer that.
    """
    if type(one) is not type(other):
        return False
    for name in one.__struct_fields__:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
            if not (type(mine) is type(theirs) and mine.dtype == theirs.dtype and np.array_equal(mine, theirs)):
                return False
        elif mine != theirs:
            return False
    return True


def _timing(frame: Frame) -> str:
    epoch = "" if frame.epoch == LIVE else f", epoch={frame.epoch}"
    return f"pts={frame.pts / SECOND:.3f}s{epoch}"


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    return describe(value)


class Audio(ReplyFrame, metaclass=UncheckedFields, frozen=True, eq=False):
    """A stretch of sound.

    Args:
        samples: A non-empty `int16` array of shape `(n,)` for mono or `(n, channels)`.
        rate: Samples a second (Hz).
        response_id: The response that it belongs to, when the agent speaks.
        item_id: The item of that response.
        pts: Media time of the first sample, in nanoseconds. Default 0.
        epoch: The epoch with which it expires. Default `LIVE`.

    Raises:
        FrameError: `samples` or `rate` is not what is expected.
    """

    samples: Samples = payload()
    """`int16`, shape `(n,)` for mono or `(n, channels)`."""
    rate: int = payload()
    """Samples a second (Hz)."""

    def __post_init__(self) -> None:
        samples = self.samples
        if (
            not isinstance(samples, np.ndarray)
            or samples.dtype != _INT16
            or not samples.size
            or not 1 <= samples.ndim <= 2
        ):
            raise FrameError(
                f"Audio.samples is {_describe(samples)}; expected a non-empty array of int16 with shape (n,) or "
                "(n, channels). Floats in -1..1: (x * 32767).astype(np.int16). Bytes: Audio.from_bytes(data, rate)"
            )
        if type(self.rate) is not int or self.rate <= 0:
            raise FrameError(f"Audio.rate is {_describe(self.rate)}; expected samples a second as a positive int")

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, rate: int, channels: int = 1, pts: int = 0) -> Self:
        """Return a frame of little-endian 16-bit PCM.

        Args:
            data: The bytes, channels interleaved.
            rate: Samples a second (Hz).
            channels: Number of channels. Default 1.
            pts: Media time of the first sample, in nanoseconds. Default 0.

        Raises:
            FrameError: The bytes are not a whole number of samples in all channels.
        """
        if channels < 1 or len(data) % (2 * channels):
            raise FrameError(
                f"{len(data)} bytes are not a whole number of 16-bit samples in {channels} channel(s); "
                "keep the remainder and put it before the next piece"
            )
        samples = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        return cls(samples.reshape(-1, channels) if channels > 1 else samples, rate, pts=pts)

    @property
    def channels(self) -> int:
        """The number of channels."""
        return 1 if self.samples.ndim == 1 else self.samples.shape[1]

    @property
    def duration(self) -> int:
        """The length in nanoseconds, rounded down. Never sum durations: count samples."""
        return ns(len(self.samples), self.rate)

    @property
    def ms(self) -> float:
        """The length in milliseconds, exactly `1000 * len(samples) / rate`."""
        return len(self.samples) * 1000 / self.rate

    def to_bytes(self) -> bytes:
        """Return the samples as little-endian 16-bit PCM, channels interleaved."""
        return self.samples.astype("<i2", copy=False).tobytes()

    def with_samples(self, samples: Samples) -> Self:
        """Return the same frame with other samples.

        Args:
            samples: A non-empty `int16` array of shape `(n,)` for mono or `(n, channels)`.
        """
        return msgspec.structs.replace(self, samples=samples)

    def scaled(self, factor: float) -> Self:
        """Return the frame with every sample multiplied by `factor` and clipped at full scale.

        Args:
            factor: Factor of the amplitude: 0.5 halves it, which is 6 dB less.
        """
        scaled = np.rint(self.samples * np.float32(factor))
        return self.with_samples(np.clip(scaled, -32768, 32767).astype(np.int16))

    def __eq__(self, other: object) -> bool:
        return _equal(self, other)

    def __ne__(self, other: object) -> bool:  # msgspec's own would compare identities
        return not _equal(self, other)

    def __hash__(self) -> int:
        return hash((Audio, self.pts, self.rate, len(self.samples)))

    def __repr__(self) -> str:
        response = f", response_id={self.response_id!r}" if self.response_id else ""
        return f"Audio({self.ms:g} ms, {self.rate} Hz, {self.channels} ch, {_timing(self)}{response})"


def _check_picture(frame: Video | Image) -> None:
    data, form = frame.data, frame.format
    if form in _ENCODED:
        if not isinstance(data, bytes) or not data:
            raise FrameError(
                f"{type(frame).__name__}.data is {_describe(data)}; format {form!r} expects non-empty bytes"
            )
    elif form in _PLANES:
        planes = _PLANES[form]
        shape = "(height, width)" if not planes else f"(height, width, {planes})"
        fits = isinstance(data, np.ndarray) and data.dtype == _UINT8 and data.size > 0
        if not fits or (data.ndim != 2 if not planes else data.ndim != 3 or data.shape[2] != planes):  # type: ignore[union-attr]
            raise FrameError(
                f"{type(frame).__name__}.data is {_describe(data)}; format {form!r} expects an array of uint8 "
                f"with shape {shape}"
            )
    else:
        known = ", ".join([*_PLANES, *_ENCODED])
        raise FrameError(f"{type(frame).__name__}.format is {form!r}; expected one of {known}")


def _show_picture(frame: Video | Image) -> str:
    data = frame.data
    size = f"{len(data)} bytes" if isinstance(data, bytes) else f"{data.shape[1]}x{data.shape[0]}"
    return f"{type(frame).__name__}({size}, {frame.format}, {_timing(frame)})"


class _Picture(Frame, frozen=True, kw_only=True):
    """The keyword-only field of `Video` and `Image`."""

    response_id: str = ""
    """The id of the response that it belongs to, when the agent shows it."""


class Video(_Picture, metaclass=UncheckedFields, frozen=True, eq=False):
    """One picture of a moving stream.

    Args:
        data: Pixels or encoded bytes, as `format` says.
        format: `rgb24` (the default), `bgr24`, `rgba`, `gray8`, `jpeg`, `png` or `webp`.
        response_id: The response that it belongs to, when the agent shows it.
        pts: Media time in nanoseconds. Default 0.
        epoch: The epoch with which it expires. Default `LIVE`.

    Raises:
        FrameError: `data` does not fit `format`, or `format` is unknown.
    """

    data: npt.NDArray[np.uint8] | bytes = payload()
    """Pixels as `uint8`, or the bytes of one jpeg, png or webp.

    The shape of pixels is `(height, width, 3)` for rgb24 and bgr24, `(height, width, 4)` for rgba, `(height, width)`
    for gray8.
    """
    format: str = "rgb24"
    """`rgb24`, `bgr24`, `rgba`, `gray8`, `jpeg`, `png` or `webp`."""

    def __post_init__(self) -> None:
        _check_picture(self)

    def __eq__(self, other: object) -> bool:
        return _equal(self, other)

    def __ne__(self, other: object) -> bool:  # msgspec's own would compare identities
        return not _equal(self, other)

    def __hash__(self) -> int:
        return hash((Video, self.pts, self.format))

    def __repr__(self) -> str:
        return _show_picture(self)


class Image(_Picture, frozen=True, eq=False):
    """A still picture that is part of the conversation.

    Args:
        data: Pixels or encoded bytes, as `format` says.
        format: `rgb24` (the default), `bgr24`, `rgba`, `gray8`, `jpeg`, `png` or `webp`.
        detail: How closely a model should look, in its provider's words (`low`, `high`). Empty for its default.
        response_id: The response that it belongs to, when the agent shows it.
        pts: Media time in nanoseconds. Default 0.
        epoch: The epoch with which it expires. Default `LIVE`.

    Raises:
        FrameError: `data` does not fit `format`, or `format` is unknown.
    """

    data: npt.NDArray[np.uint8] | bytes = payload()
    """Pixels as `uint8`, or the bytes of one jpeg, png or webp.

    The shape of pixels is `(height, width, 3)` for rgb24 and bgr24, `(height, width, 4)` for rgba, `(height, width)`
    for gray8.
    """
    format: str = "rgb24"
    """`rgb24`, `bgr24`, `rgba`, `gray8`, `jpeg`, `png` or `webp`."""
    detail: str = ""
    """How closely a model should look, in its provider's words (`low`, `high`). Empty for its default."""

    def __post_init__(self) -> None:
        _check_picture(self)

    def __eq__(self, other: object) -> bool:
        return _equal(self, other)

    def __ne__(self, other: object) -> bool:  # msgspec's own would compare identities
        return not _equal(self, other)

    def __hash__(self) -> int:
        return hash((Image, self.pts, self.format))

    def __repr__(self) -> str:
        return _show_picture(self)
