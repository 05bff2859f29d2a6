"""What a WhisperEar counts."""

from __future__ import annotations

import msgspec

__all__ = ["HearingStatistics"]


class HearingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The load of a `WhisperEar` and of its model, which all calls of the process share.

    Utterances that wait for long mean that the machine has too many calls.
    """

    waiting: int
    """Transcriptions that wait for the model now, over all calls of the process."""
    waiting_peak: int
    """The most that ever waited at once, over all calls of the process."""
    wait_ms: float
    """How long the transcriptions of this ear have waited for the model in all."""
    wait_ms_peak: float
    """The longest that one of them has waited."""
    transcriptions: int
    """Transcriptions of this ear, those of partial words included."""
    stale: int
    """Those that were made in a pause and dropped, because speech went on."""
