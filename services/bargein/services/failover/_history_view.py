"""`HistoryView`: the shared conversation, for one run of a brain."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from bargein.services.history import Entry, History, HistoryStatistics, Picture

from ._ids import RunIds

__all__ = ["HistoryView"]

MAX_OWN_ENTRIES = 64
"""Number of the run's newest entries that a view remembers."""


class HistoryView(History):
    """A `History` on the entries of another one. All entries are visible, and the ids of the run are renamed.

    Each run of a brain uses its own view instead of the brain's history.

    Args:
        shared: The conversation that all brains share.
        ids: The ids of the run.
        on_user_entry: Called when the brain has recorded new words of the user.
    """

    def __init__(self, shared: History, ids: RunIds, on_user_entry: Callable[[], None]) -> None:
        super().__init__()
        # This is the same list and not a copy, so all brains and the application see all entries.
        self.entries = shared.entries
        self.own: deque[Entry] = deque(maxlen=MAX_OWN_ENTRIES)
        """The newest entries that this run wrote."""
        self.closed = False
        """Whether the brain has been left. Then all that it writes is discarded."""
        self._shared = shared
        self._ids = ids
        self._on_user_entry = on_user_entry

    def has_user_text(self, text: str) -> bool:
        """Return whether this run has recorded these words of the user."""
        return any(entry.role == "user" and text.strip() in entry.text for entry in self.own)

    def has_picture(self, data: object) -> bool:
        """Return whether this run has recorded this picture."""
        return any(picture.data == data for entry in self.own for picture in entry.pictures)

    def discard_if_empty(self, entry: Entry) -> None:
        """Remove an entry from the shared conversation if it tells a model nothing."""
        if not entry.worth:
            self._shared.discard(entry)

    # As in History, with the ids of this run -----------------------------------------------------------------------

    def statistics(self) -> HistoryStatistics:
        """Return the statistics of the shared conversation."""
        return self._shared.statistics()

    def system(self, text: str, item_id: str = "") -> Entry:
        """Add information for the model that neither the user nor the agent has said."""
        return self._note(self._target.system(text, self._ids.outward(item_id)))

    def user(self, text: str, item_id: str = "") -> Entry:
        """Record what the user said or typed."""
        return self._note(self._target.user(text, self._ids.outward(item_id)))

    def begin(self, item_id: str) -> Entry:
        """Add an empty entry for an item of the user whose words are not known yet."""
        return self._note(self._target.begin(self._ids.outward(item_id)))

    def show(self, picture: Picture, item_id: str = "") -> Entry:
        """Add a picture that the user showed."""
        return self._note(self._target.show(picture, self._ids.outward(item_id)))

    def assistant(self, text: str, item_id: str = "", response_id: str = "") -> Entry:
        """Append text to an item of the agent."""
        ids = self._ids
        return self._note(self._target.assistant(text, ids.outward(item_id), ids.outward(response_id)))

    def correct(self, text: str, item_id: str = "", response_id: str = "") -> None:
        """Replace the text of an item of the agent."""
        self._target.correct(text, self._ids.outward(item_id), self._ids.outward(response_id))

    def set_heard(self, text: str, item_id: str = "", response_id: str = "") -> None:
        """Record which part of an item of the agent was heard."""
        self._target.set_heard(text, self._ids.outward(item_id), self._ids.outward(response_id))

    def call(self, call_id: str, name: str, arguments: str, response_id: str = "") -> Entry:
        """Record a tool call."""
        ids = self._ids
        return self._note(self._target.call(ids.outward(call_id), name, arguments, ids.outward(response_id)))

    def find_call(self, call_id: str) -> Entry | None:
        """Return a call of this run, or None."""
        return self._target.find_call(self._ids.outward(call_id))

    def result(self, call_id: str, output: str) -> Entry | None:
        """Record the result of a call of this run, or else of another run."""
        # A result may belong to a call that another brain has made.
        return self._target.result(self._ids.outward(call_id), output) or self._target.result(call_id, output)

    def remember(self, *args: Any, **options: Any) -> Entry | None:
        """Add an entry that was not said in this session. Its ids come from the application and are not renamed."""
        return self._target.remember(*args, **options)

    def forget(self, item_id: str) -> None:
        """Remove an item of this run."""
        self._target.forget(self._ids.outward(item_id))

    def discard(self, entry: Entry) -> None:
        """Remove an entry."""
        self._target.discard(entry)

    @property
    def crowded(self) -> bool:
        """Whether it is time to call `condense`."""
        return self._shared.crowded

    async def condense(self) -> bool:
        """Replace the older half of the shared conversation by a summary."""
        return await self._shared.condense()

    @property
    def _target(self) -> History:
        # A closed view writes into an empty history that is not read. So no method has to check whether it is closed.
        return History() if self.closed else self._shared

    def _note(self, entry: Entry) -> Entry:
        if not self.closed and not any(entry is other for other in self.own):
            self.own.append(entry)
            if entry.role == "user":
                self._on_user_entry()
        return entry
