"""`HeardTracker`: records in the history which of the agent's words were heard."""

from __future__ import annotations

from bargein.processors import Heard
from bargein.services.history import History

__all__ = ["HeardTracker"]

MAX_ITEMS = 64
"""Maximum number of items for which reports are expected."""


class HeardTracker:
    """Writes the agent's words into the history, and marks which of them were heard.

    A `Spoken` below reports the heard words with `Heard` frames. Without a `Spoken`, the user reads the text. Then all
    of it counts as heard, except the response that an interrupt ends.

    Args:
        history: The conversation.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self._unsettled: dict[tuple[str, str], str] = {}  # what was heard so far of items that are not done
        self._remaining: dict[tuple[str, str], str] = {}  # what was not heard of items that are done
        self._heard_responses: set[str] = set()
        self._has_reporter = False  # whether there is a Spoken below
        self._undecided = False  # after an interrupt: whether it is unknown if a Spoken will report the rest

    def write(self, text: str, item_id: str, response_id: str) -> None:
        """Add text that the agent is about to say."""
        self.history.assistant(text, item_id, response_id)
        self._unsettled.setdefault((response_id, item_id), "")
        while len(self._unsettled) > MAX_ITEMS:
            del self._unsettled[next(iter(self._unsettled))]

    def begin_response(self, response_id: str) -> None:
        """Forget which earlier responses were heard."""
        self._heard_responses.intersection_update({response_id})

    def was_heard(self, response_id: str) -> bool:
        """Return whether anything of a response was heard."""
        return response_id in self._heard_responses

    @property
    def playing(self) -> str:
        """Id of the newest response that is still being played; empty if there is none, or no `Spoken` reports it."""
        return next(reversed(self._unsettled), ("", ""))[0] if self._has_reporter else ""

    def split(self, response_id: str) -> tuple[str, str]:
        """Return the text of a response that was heard, and the text that was not."""
        entries = [entry for entry in self.history if entry.role == "assistant" and entry.response_id == response_id]
        heard = "".join(entry.remembered for entry in entries)
        rest = [
            self._remaining.get((response_id, entry.item_id), entry.text[len(entry.remembered) :]) for entry in entries
        ]
        return heard, "".join(rest)

    def on_heard(self, frame: Heard) -> None:
        """Record how much of an item was heard."""
        if frame.text:
            self._heard_responses.add(frame.response_id)
        key = (frame.response_id, frame.item_id)
        if frame.done:
            self._unsettled.pop(key, None)
            self.history.set_heard(frame.text, frame.item_id, frame.response_id)
            self._remaining[key] = frame.remaining
            while len(self._remaining) > MAX_ITEMS:
                del self._remaining[next(iter(self._remaining))]
        elif key in self._unsettled:
            self._unsettled[key] = frame.text

    def on_activity(self, current: str) -> None:
        """Note that there is a `Spoken` below, which reports the heard words from now on.

        Args:
            current: Id of the response in progress; empty for none.
        """
        self._has_reporter = True
        if self._undecided:
            self.settle(current)

    def settle(self, current: str) -> None:
        """Close the items that an interrupt has ended, because no more of them will be heard.

        Args:
            current: Id of the response in progress; empty for none.
        """
        for (response_id, item_id), heard in list(self._unsettled.items()):
            if self._has_reporter or response_id == current:
                del self._unsettled[response_id, item_id]
                self.history.set_heard(heard, item_id, response_id)
        self._undecided = bool(self._unsettled)
