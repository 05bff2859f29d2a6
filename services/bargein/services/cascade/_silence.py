"""Silence in which the user waits for a cascade: for words to be known, or for the application."""

from __future__ import annotations

import math

from bargein.pipeline import Transcript
from bargein.services.dead_air import DeadAir

from ._agenda import Agenda
from ._cut_answer import CutAnswerWatch

__all__ = ["CascadeSilence"]


class CascadeSilence:
    """Opens a question as soon as the user has stopped to speak, and asks for patience where no response is made.

    Whether the user has asked anything is known when the words are. If there are none, the question is closed again.

    Args:
        dead_air: Follows whether the user waits in silence.
        agenda: What is to be said next.
        watch: Knows which speech has no final words yet.
        wait_reply: What is said to a user who has to wait. Empty: nothing.
    """

    def __init__(self, dead_air: DeadAir, agenda: Agenda, watch: CutAnswerWatch, wait_reply: str) -> None:
        self.wait_reply = wait_reply
        self._dead_air = dead_air
        self._agenda = agenda
        self._watch = watch
        self._asked_at = math.inf  # when a question was opened by speech whose words are not known

    def on_speech_stopped(self) -> None:
        """Note that the user has stopped to speak."""
        if self._watch.hears and not self._dead_air.open:
            self._dead_air.ask()
            self._asked_at = self._dead_air.asked_at

    def on_words(self, frame: Transcript) -> None:
        """Note the final words of some speech. A turn that consists of them opens the question again."""
        if self._asked_at == self._dead_air.asked_at < math.inf and (frame.text.strip() or not self._watch.hears):
            self._dead_air.close()

    def check(self) -> bool:
        """Ask for patience while the application answers a call, or once while the words are not known yet.

        Returns:
            Whether one of them is the case.
        """
        if self._agenda.continuation is None and not (self._watch.hears and not self._dead_air.waits):
            return False
        self._dead_air.announce()
        self._agenda.say(self.wait_reply)
        return True
