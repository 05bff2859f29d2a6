"""Responses, as they are being made and heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bargein.pipeline import Outlet
from bargein.processors import Alignment

__all__ = ["Response", "ResponseItem"]


class ResponseItem:
    """One item of a response."""

    def __init__(self, epoch: int, ms_per_weight: float) -> None:
        self.alignment = Alignment(epoch, ms_per_weight)
        self.samples = 0
        self.half = b""
        """A sample that was cut in two."""
        self.text = False
        """It has text."""
        self.final = False
        """Its text is complete, and that was told."""
        self.heard = ""
        """What another voice has made heard of its text so far."""
        self.settled = False
        """What was heard of it is known, and told."""

    def sound(self, pcm: bytes) -> npt.NDArray[np.int16] | None:
        """The whole samples of a piece of its sound; half a one waits for the next piece. None for no sample."""
        pcm = self.half + pcm
        self.half = pcm[len(pcm) & ~1 :]
        return np.frombuffer(pcm, "<i2", len(pcm) // 2).astype(np.int16, copy=False) if len(pcm) >= 2 else None


class Response:
    """One response, from its beginning until it is forgotten."""

    def __init__(self, name: str, outlet: Outlet[Any] | None, connection: int) -> None:
        self.name = name
        self.connection = connection
        """On which connection it was made: another one knows nothing of it."""
        self.outlet = outlet
        """Stamped when the response began; None for one that was called off before."""
        self.epoch = outlet.epoch if outlet is not None else -1
        self.active = True
        """It is being made."""
        self.cancelled = False
        """The provider was told to stop it."""
        self.items: dict[str, ResponseItem] = {}
        self.calls: set[str] = set()
        """Its calls that were not answered."""
        self.called = False
        """It made calls, whose results ask for another response."""

    @property
    def dropped(self) -> bool:
        """Nothing of it is wanted any more."""
        return self.outlet is None or self.outlet.stale
