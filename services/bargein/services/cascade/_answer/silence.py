"""`CascadeSilence`: tells the user to wait while words are being recognised or the application answers a tool call."""

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
    """Measures the user's wait from the end of speech, and tells the user to wait while no response is in progress.

    A question is opened as soon as the user stops speaking, before it is known whether the speech had words. If it had
    none, the question is closed again.

    Args:
        dead_air: Follows whether the user waits in silence.
        agenda: The words to say next.
        watch: Knows which speech has no final words yet.
        wait_reply: Text that is spoken to a user who has to wait. Empty: nothing.
    """

    def __init__(self, dead_air: DeadAir, agenda: Agenda, watch: CutAnswerWatch, wait_reply: str) -> None:
        self.wait_reply = wait_reply
        self._dead_air = dead_air
        self._agenda = agenda
        self._watch = watch
        self._count = 0  # of the times that the user was told to wait
        self._asked_at = math.inf  # when a question was opened by speech whose words are not known

    async def wait(self) -> None:
        """Wait until a silence must be broken."""
        while (seconds := self._dead_air.deadline - anyio.current_time()) > 0:
            with anyio.move_on_after(seconds):
                await self._dead_air.changed.wait()

    async def tell_to_wait(self, reply: Outlet[Any], response_id: str, generation: Generation) -> None:
        """Tell the user to wait, in a response that has no words yet, or no further words.

        Args:
            reply: The outlet of the response.
            response_id: Id of the response.
            generation: Sends the words.
        """
        self._dead_air.announce()
        if not reply.stale:
            self._count += 1
            await generation.say(reply, response_id, f"{response_id}-wait-{self._count}", self.wait_reply)

    def on_speech_stopped(self) -> None:
        """Note that the user has stopped speaking."""
        if self._watch.hears and not self._dead_air.open:
            self._dead_air.ask()
            self._asked_at = self._dead_air.asked_at

    def on_words(self, frame: Transcript) -> None:
        """Note the final words of some speech, and close the question that its end has opened. A turn opens it
        again."""
        if self._asked_at == self._dead_air.asked_at < math.inf and (frame.text.strip() or not self._watch.hears):
            self._dead_air.close()

    def check(self) -> bool:
        """Tell the user to wait, if the application answers a tool call or words are still unknown (for these only
        once).

        Returns:
            Whether the user was told to wait.
        """
        if self._agenda.continuation is None and not (self._watch.hears and not self._dead_air.waits):
            return False
        self._dead_air.announce()
        self._agenda.say(self.wait_reply)
        return True
