"""Whether the user waits for an answer, and for how long nothing has happened. All brains use it."""

from __future__ import annotations

import math
from typing import Final

import anyio

from bargein.pipeline import Played, SpeechStarted, SpeechStopped
from bargein.pipeline.lowlevel import Wakeup, check_options, check_positive
from bargein.processors import AgentActivity

__all__ = ["CONTINUE", "DEAD_AIR_SECONDS", "MAX_TRIES", "WAIT_REPLY", "DeadAir"]

DEAD_AIR_SECONDS: Final = 5.0
"""How long a caller may wait in silence, in seconds, before the call seems to be dead."""
WAIT_REPLY: Final = "One moment, please."
"""What is said when the user has to wait."""
CONTINUE: Final = (
    "A noise interrupted you. Go on with your answer from where it stopped, without repeating what was heard."
)
"""Added to the instructions when an answer is continued."""
ACTS_AFTER: Final = 0.8
"""Share of the bound after which a brain acts. The rest is for the voice or the provider, so that the user hears
something within the bound."""
PATIENCE_SECONDS: Final = 60.0
"""How long a user waits who was told to, in seconds, before the next announcement. Models and tools fail by then."""
MAX_TRIES: Final = 3
"""How often an answer is asked for again before it is given up."""


class DeadAir:
    """Follows one conversation, and says when its brain must break a silence.

    A question is open from the end of the user's turn until an answer to it is complete. A noise, a cough or any other
    speech that interrupts the answer leaves it open. An interrupt while nobody speaks withdraws it: the application
    or the user has pressed a button. Silence counts while a question is open, nobody speaks, and no player reports
    progress: an item that is not done may wait for the rest of its sound.

    It has no task. A brain waits until `deadline`, and for `changed`, and acts.

    Args:
        seconds: Maximum silence while a question is open, in seconds. Infinite: no limit.
    """

    @check_options
    def __init__(self, seconds: float) -> None:
        check_positive("DeadAir", infinite=True, seconds=seconds)
        self.seconds = seconds
        self.changed = Wakeup()
        """Set when `deadline` may be earlier than before."""
        self.tries = 0
        """How often the answer to this question was asked for again."""
        self.asked_at = math.inf
        """When the question was asked; infinite if none is open."""
        self.was_cut = False
        """Whether an interrupt has ended the answer, so that it does not come without another request."""
        self._alive_at = -math.inf  # until when something happened
        self.waits = 0
        """How often the user was asked for patience, or the silence was reported, since something has changed."""
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
        """Note that an answer is complete, or that none is owed."""
        self.asked_at = math.inf

    def on_interrupt(self, *, by_speech: bool = False) -> None:
        """Note an interrupt.

        Args:
            by_speech: Speech has caused it, although none is being reported.
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
        """Note that something happens that the user hears.

        Args:
            ms: How long it will sound, in milliseconds.
        """
        self._alive_at = max(self._alive_at, anyio.current_time()) + ms / 1000
        self.changed.set()

    def on_progress(self) -> None:
        """Note that what is under way has changed: a response begins or ends, a tool has finished, or words come."""
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
                self._reopen()  # a detector that is sure at once interrupts before it reports
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
        """Note that the user was asked for patience, or that the silence was reported."""
        self.waits += 1
        self._alive_at = max(self._alive_at, anyio.current_time())

    def retry(self) -> bool:
        """Count one more request for the answer. Returns False, and closes the question, if there were enough."""
        self._alive_at = max(self._alive_at, anyio.current_time())
        self.tries += 1
        if self.tries > MAX_TRIES:
            self.close()
        return self.open
