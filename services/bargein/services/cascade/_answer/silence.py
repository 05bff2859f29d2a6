"""Silence in which the user waits for a cascade: for words to be known, or for the application."""

from __future__ import annotations

import math
from typing import Any

import anyio

from bargein.pipeline import Outlet, Transcript
from bargein.services.brain import DeadAir

from .agenda import Agenda
from .cut_answer import CutAnswerWatch
from .generation import Generation

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
        self._count = 0  # of the times that the user was asked for patience
        self._asked_at = math.inf  # when a question was opened by speech whose words are not known

    async def wait(self) -> None:
        """Return when a silence must be broken."""
        while (seconds := self._dead_air.deadline - anyio.current_time()) > 0:
            with anyio.move_on_after(seconds):
                await self._dead_air.changed.wait()

    async def ask_for_patience(self, reply: Outlet[Any], response_id: str, generation: Generation) -> None:
        """Ask the user for patience in a response that has no words, or no more of them.

        Args:
            reply: The outlet of the response.
            response_id: The response.
            generation: What makes the response.
        """
        self._dead_air.announce()
        if not reply.stale:
            self._count += 1
            await generation.say(reply, response_id, f"{response_id}-wait-{self._count}", self.wait_reply)

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
