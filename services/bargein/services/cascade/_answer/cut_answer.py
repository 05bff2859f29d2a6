"""`CutAnswerWatch`: continues an answer that was interrupted by noise and not by words."""

from __future__ import annotations

import anyio
import msgspec

from bargein.pipeline import SpeechStarted, Transcript
from bargein.services.frames import Respond, Say

__all__ = ["CutAnswer", "CutAnswerWatch"]


class CutAnswer(msgspec.Struct, frozen=True):
    """An answer that an interrupt ended."""

    request: Respond | Say | None
    """The answer that was being made or spoken, or that waited for its turn; None if the answer was complete and only
    being spoken."""
    response_id: str
    """The response that was cut short; empty if it had not begun."""


class CutAnswerWatch:
    """Stores an answer that speech interrupted, and returns it if the speech turns out to have no words.

    A speech detector may take a cough or a door for speech. Such noise gets no answer of its own, so without this class
    the user would wait in vain for the rest of the interrupted answer. An interrupt without speech, such as one by a
    stop button, is final.
    """

    def __init__(self) -> None:
        self._open: set[str] = set()  # items of speech without a final transcript
        self._cut: CutAnswer | None = None
        self._cut_at = 0.0
        self._deciding_items: set[str] = set()  # items of speech whose transcripts decide whether the answer continues

    def on_speech_started(self, frame: SpeechStarted) -> None:
        """Note that the user started to speak."""
        self._open.add(frame.item_id)
        # A detector without a minimum duration of speech sends the interrupt just before `SpeechStarted`.
        if self._cut is not None and (self._deciding_items or anyio.current_time() == self._cut_at):
            self._deciding_items.add(frame.item_id)

    def on_interrupt(self, cut: CutAnswer) -> None:
        """Store the answer that an interrupt ended."""
        self._cut, self._cut_at, self._deciding_items = cut, anyio.current_time(), set(self._open)

    def on_transcript(self, frame: Transcript) -> CutAnswer | None:
        """Note a transcript of the user. Return the answer to continue if none of the speech had words."""
        if frame.speaker != "user" or not frame.final:
            return None
        # A recogniser that names items itself sends transcripts of unknown items. Such a transcript covers all open
        # speech.
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
        """Remove and return the answer that was cut short; None if there is none."""
        cut = self._cut
        self.clear()
        return cut

    def clear(self) -> None:
        """Forget the answer, because something else is to be said now."""
        self._cut = None
        self._deciding_items.clear()
