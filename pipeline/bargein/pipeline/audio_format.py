"""The sound that a processor wants or makes."""

from __future__ import annotations

import msgspec

from ._fields import CheckedFields
from .errors import FrameError

__all__ = ["AudioFormat"]


class AudioFormat(msgspec.Struct, metaclass=CheckedFields, frozen=True):
    """A format of sound, checked when a graph is linked. None leaves a side open.

    Args:
        rates: Samples a second (Hz): one rate, or a tuple of those that are possible. Default: any.
        channels: Number of channels. Default: any.

    Raises:
        FrameError: A rate is not positive.
    """

    rates: int | tuple[int, ...] | None = None
    """Samples a second (Hz): one rate, or those that are possible. None for any."""
    channels: int | None = None
    """Number of channels. None for any."""

    def __post_init__(self) -> None:
        for rate in self.listed_rates or ():
            if rate <= 0:
                raise FrameError(f"AudioFormat: a rate of {rate} Hz; expected a positive number of samples a second")

    @property
    def listed_rates(self) -> tuple[int, ...] | None:
        """The rates as a tuple. None for any."""
        return (self.rates,) if isinstance(self.rates, int) else self.rates

    def __str__(self) -> str:
        words = [" or ".join(str(rate) for rate in self.listed_rates) + " Hz"] if self.listed_rates else []
        if self.channels:
            words.append({1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels"))
        return ", ".join(words) or "any audio"
