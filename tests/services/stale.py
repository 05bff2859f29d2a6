"""What holds of every conversation, whoever the provider is."""

from __future__ import annotations

from bargein.pipeline import LIVE, Audio, Interrupt, Text
from bargein.pipeline.testing import Harness

__all__ = ["nothing_stale"]


def nothing_stale(harness: Harness) -> None:
    """After an interrupt no sample and no word of what had begun before it comes."""
    epoch = 0
    for _, frame in harness.timeline:
        if isinstance(frame, Interrupt):
            assert frame.epoch > epoch, "each step once"
            epoch = frame.epoch
        elif isinstance(frame, Audio | Text) and frame.epoch != LIVE:
            assert frame.epoch >= epoch
