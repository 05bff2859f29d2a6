"""An answer that speech cut short, until it is known whether the speech had words."""

from __future__ import annotations

import anyio
import msgspec

from bargein.pipeline import SpeechStarted, Transcript
from bargein.services.frames import Respond, Say

__all__ = ["CutAnswer", "CutAnswerWatch"]


class CutAnswer(msgspec.Struct, frozen=True):
    """What an interrupt ended."""

    request: Respond | Say | None
    """The answer that was being made or spoken, or that waited for its turn; None if the answer was complete and only
    being spoken."""
    response_id: str
    """The response that was cut short; empty if it had not begun."""


class CutAnswerWatch:
    """Remembers an answer that speech cut short, and returns it if the speech had no words.

    A cough or a door is speech for a detector, and gets no answer. Without this, the user would wait for ever for
    the answer that it cut short. An interrupt without speech, such as a stop button, is final.
    """

    def __init__(self) -> None:
        self._open: set[str] = set()  # items of speech without a final transcript
        self._cut: CutAnswer | None = None
        self._cut_at = 0.0
        self._deciding_items: set[str] = set()  # the items of speech that decide

    def on_speech_started(self, frame: SpeechStarted) -> None:
        """Note that the user started to speak."""
        self._open.add(frame.item_id)
        # A detector that needs no minimum duration interrupts just before it reports the speech.
        if self._cut is not None and (self._deciding_items or anyio.current_time() == self._cut_at):
            self._deciding_items.add(frame.item_id)

    def on_interrupt(self, cut: CutAnswer) -> None:
        """Note what an interrupt ended."""
        self._cut, self._cut_at, self._deciding_items = cut, anyio.current_time(), set(self._open)

    def on_transcript(self, frame: Transcript) -> CutAnswer | None:
        """Note a transcript of the user. Returns the answer to go on with, if all the speech had no words."""
        if frame.speaker != "user" or not frame.final:
            return None
        # A transcript of an unknown item comes from a recogniser that names items itself: it is of all open speech.
        closed = {frame.item_id} if frame.item_id in self._open else set(self._open)
        self._open -= closed
        if frame.text.strip():
            self.clear()  # a turn follows
            return None
        waited = bool(self._deciding_items)
        self._deciding_items -= closed
        if not waited or self._deciding_items:
            return None
        return self.take()

    @property
    def hears(self) -> bool:
        """Whether the user has said something whose final words are not known yet."""
        return bool(self._open)

    def take(self) -> CutAnswer | None:
        """Return what was cut short, and forget it; None if there is nothing."""
        cut = self._cut
        self.clear()
        return cut

    def clear(self) -> None:
        """Forget the answer, because something else is to be said now."""
        self._cut = None
        self._deciding_items.clear()
