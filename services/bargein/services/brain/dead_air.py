"""`DeadAir`: measures for how long the user has waited for an answer in silence. All brains use it."""

from __future__ import annotations

import math
from typing import Final

import anyio

from bargein.pipeline import Played, SpeechStarted, SpeechStopped
from bargein.pipeline.lowlevel import Wakeup, check_options, check_positive
from bargein.processors import AgentActivity

__all__ = ["CONTINUE", "DEAD_AIR_SECONDS", "MAX_TRIES", "WAIT_REPLY", "DeadAir"]

DEAD_AIR_SECONDS: Final = 5.0
"""Default of the longest silence while the user waits for an answer, in seconds. After it a call seems to be dead."""
WAIT_REPLY: Final = "One moment, please."
"""Default text that is said when the user has to wait."""
CONTINUE: Final = (
    "A noise interrupted you. Go on with your answer from where it stopped, without repeating what was heard."
)
"""Added to the instructions when an answer is continued."""
ACTS_AFTER: Final = 0.8
"""Share of the maximum silence after which a brain acts. The voice or the provider needs the rest, so that the user
hears something in time."""
PATIENCE_SECONDS: Final = 60.0
"""Time in seconds from one announcement that the user has to wait to the next one. By then, models and tools usually
have failed."""
MAX_TRIES: Final = 3
"""Number of times that an answer is requested again before the brain gives up."""


class DeadAir:
    """Tracks one conversation and tells its brain when it must break a silence.

    A question is open from the end of the user's turn until an answer to it is complete. A noise, a cough or any other
    speech that interrupts the answer leaves the question open. An interrupt while nobody speaks closes it, because then
    the application or the user has pressed a button.

    Silence is counted while a question is open, nobody speaks, and no player reports progress. An incomplete item of
    sound does not stop the count, because it may be waiting for the rest of its sound.

    `DeadAir` has no task. A brain waits until `deadline`, or for `changed`, and then acts.

    Args:
        seconds: Maximum silence while a question is open, in seconds; `math.inf` for no limit.
    """

    @check_options
    def __init__(self, seconds: float) -> None:
        check_positive("DeadAir", infinite=True, seconds=seconds)
        self.seconds = seconds
        self.changed = Wakeup()
        """Set when `deadline` may be earlier than before."""
        self.tries = 0
        """Number of times that the answer to this question was requested again."""
        self.asked_at = math.inf
        """When the question was asked; infinite if none is open."""
        self.was_cut = False
        """Whether an interrupt has ended the answer. Then it comes only after another request."""
        self._alive_at = -math.inf  # until when something happened
        self.waits = 0
        """Number of announcements and reports of silence since the conversation last made progress."""
        self._speaking: set[str] = set()  # items of the user's speech
        self._playing: set[tuple[str, str]] = set()  # responses and items that are played
        self._active = ""  # the response that is made or heard, as `Spoken` reports it
        self._withdrawn_at = -math.inf

    @property
    def open(self) -> bool:
        """Whether the user waits for an answer."""
        return self.asked_at < math.inf

    @property
    def speaking(self) -> bool:
        """Whether the user speaks."""
        return bool(self._speaking)

    @property
    def deadline(self) -> float:
        """When the brain must act; infinite for never. One announcement is enough until something changes."""
        if not self.open or self._speaking:
            return math.inf
        wait = PATIENCE_SECONDS if self.waits else ACTS_AFTER * self.seconds
        return max(self.asked_at, self._alive_at) + wait

    @property
    def silent_seconds(self) -> float:
        """For how many seconds the user has waited in silence."""
        return max(0.0, anyio.current_time() - max(self.asked_at, self._alive_at)) if self.open else 0.0

    # The question -------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Note that the user waits for an answer from now on."""
        self.asked_at = anyio.current_time()
        self.tries = self.waits = 0
        self.was_cut = False
        self.changed.set()

    def close(self) -> None:
        """Note that an answer is complete, or that the user expects none."""
        self.asked_at = math.inf

    def on_interrupt(self, *, by_speech: bool = False) -> None:
        """Note an interrupt.

        Args:
            by_speech: Whether speech has caused it, although no `SpeechStarted` has come.
        """
        now = anyio.current_time()
        cut = self.open or bool(self._playing) or bool(self._active) or self._alive_at > now
        self._playing.clear()
        self._active = ""
        self._alive_at = min(self._alive_at, now)  # sound that was still to be played is dropped
        if not cut:
            return
        if self._speaking or by_speech:
            self._reopen()
        else:
            self.close()
            self._withdrawn_at = now

    def _reopen(self) -> None:
        self.was_cut = True
        if not self.open:
            self.asked_at = anyio.current_time()
        self.on_progress()

    # Signs of life ------------------------------------------------------------------------------------------------

    def on_sign(self, ms: float = 0.0) -> None:
        """Note that the user hears something.

        Args:
            ms: Its length, in milliseconds.
        """
        self._alive_at = max(self._alive_at, anyio.current_time()) + ms / 1000
        self.changed.set()

    def on_progress(self) -> None:
        """Note progress of the answer: a response begins or ends, a tool has finished, or words come."""
        self.waits = 0
        self.on_sign()

    def on_speech(self, frame: SpeechStarted | SpeechStopped) -> None:
        """Note that the user's speech begins or ends.

        Args:
            frame: The report of a detector or of the provider.
        """
        if isinstance(frame, SpeechStarted):
            self._speaking.add(frame.item_id)
            if self._withdrawn_at == anyio.current_time():
                self._reopen()  # a detector that is sure at once sends the interrupt before the report
        else:  # without an item, all speech has stopped
            self._speaking -= {frame.item_id} if frame.item_id else set(self._speaking)
            self.on_sign()

    def on_played(self, frame: Played) -> None:
        """Note the report of a player.

        Args:
            frame: How much of an item was heard.
        """
        (self._playing.discard if frame.done else self._playing.add)((frame.response_id, frame.item_id))
        self._alive_at = max(self._alive_at, anyio.current_time())

    def on_activity(self, frame: AgentActivity) -> None:
        """Note the report of a `Spoken`.

        Args:
            frame: Whose response can be heard now.
        """
        self._active = frame.response_id

    # Acting -------------------------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Note that the user was told to wait, or that the silence was reported."""
        self.waits += 1
        self._alive_at = max(self._alive_at, anyio.current_time())

    def retry(self) -> bool:
        """Count one more request for the answer. Returns False, and closes the question, if there were enough."""
        self._alive_at = max(self._alive_at, anyio.current_time())
        self.tries += 1
        if self.tries > MAX_TRIES:
            self.close()
        return self.open
