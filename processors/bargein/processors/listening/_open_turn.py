"""The state of a turn before it is sent."""

from __future__ import annotations

import math

import anyio

from bargein.pipeline import Transcript
from bargein.processors.frames import Turn, TurnEnd

__all__ = ["OpenTurn"]


class OpenTurn:
    """A turn that is still being put together.

    Args:
        pts: Media time in nanoseconds at which it began.
    """

    def __init__(self, pts: int) -> None:
        self.number = 0  # 0 until it is sent for the first time
        self.pts = self.end_pts = pts
        self.began = anyio.current_time()
        self.has_speech_events = False  # events say when its speech starts and stops
        self.awaited_items: set[str] = set()  # items whose final transcript is still missing
        self.speech_ms: dict[str, float] = {}  # by item, if a `Vad` counts the speech
        self.transcripts: dict[str, Transcript] = {}
        self.last_sign = self.began  # time of the latest event or transcript
        self.reason: TurnEnd = "silence"
        self.ends_at = math.inf  # when it ends if nobody speaks
        self.stopped_at = 0.0  # when the end of its speech was noticed
        self.lag_ms = 0.0  # how long after the end of speech that was
        self.longest_pause_ms = 0.0
        self.closed_at = 0.0
        self.times_sent = 0
        self.sent_text = ""

    @property
    def is_pending(self) -> bool:
        """Whether one of its transcripts may still change."""
        return bool(self.awaited_items) or not all(each.final for each in self.transcripts.values())

    def is_shorter_than(self, ms: float) -> bool:
        """Return whether it is known to contain less speech than `ms` milliseconds."""
        if self.speech_ms:
            return sum(self.speech_ms.values()) < ms
        return 0 < (self.end_pts - self.pts) / 1e6 < ms

    def may_contain(self, frame: Transcript) -> bool:
        """Return whether a transcript of an unknown item may be one that this turn waits for."""
        unnamed = any(not each.item_id and not each.final for each in self.transcripts.values())
        return bool(self.awaited_items) or (not frame.item_id and unnamed)

    def add_transcript(self, frame: Transcript) -> None:
        """Add a transcript. It replaces the earlier one of its item."""
        name = frame.item_id
        if not name:  # a recogniser without items: partials replace each other until one is final
            name = f" {sum(each.final for each in self.transcripts.values() if not each.item_id)}"
        if name in self.transcripts and self.transcripts[name].final and not frame.final:
            return
        self.transcripts[name] = frame
        if frame.final:
            if frame.item_id in self.awaited_items:
                self.awaited_items.remove(frame.item_id)
            else:
                self.awaited_items.clear()  # the recogniser numbers items itself: this covers everything said so far

    @property
    def text(self) -> str:
        """All its transcripts, joined by spaces."""
        return " ".join(text for each in self.transcripts.values() if (text := each.text.strip()))

    def to_frame(self) -> Turn:
        """Return the frame for what is known now."""
        return Turn(
            pts=self.pts,
            turn=self.number,
            text=self.text,
            item_ids=tuple(each.item_id for each in self.transcripts.values() if each.item_id),
            reason=self.reason,
            end_pts=self.end_pts,
            final=not self.is_pending,
            revision=self.times_sent,
        )
