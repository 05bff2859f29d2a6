"""The conversation: what was said, what was called, and of the agent's words those that were heard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

__all__ = ["Entry", "History"]

Role = Literal["system", "user", "assistant", "call"]


class Entry(msgspec.Struct, kw_only=True):
    """One message or tool call."""

    role: Role
    item: str = ""
    """Its id; transcripts and corrections find it by that."""
    text: str = ""
    """What was said: by the agent, as far as it was written."""
    heard: str | None = None
    """What of the agent's text was heard; None as long as nobody has said."""
    response: str = ""
    """Which response it belongs to."""
    call: str = ""
    """The id of a tool call."""
    name: str = ""
    """The tool."""
    arguments: str = "{}"
    """What it was called with."""
    output: str | None = None
    """What it answered; None until then."""

    @property
    def remembered(self) -> str:
        """What a model should remember of it."""
        return self.text if self.heard is None else self.heard

    @property
    def worth(self) -> bool:
        """There is something in it to remember: words, or a call with its answer."""
        return self.output is not None if self.role == "call" else bool(self.remembered.strip())


class History:
    """The entries in the order in which they began, each once. Bounded: the oldest are forgotten."""

    def __init__(self, capacity: int = 500) -> None:
        if capacity < 1:
            raise ValueError(f"History(capacity={capacity}): expected a positive number of entries")
        self.capacity = capacity
        self._entries: list[Entry] = []

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> Entry | None:
        """The latest entry."""
        return self._entries[-1] if self._entries else None

    @property
    def remembered(self) -> list[Entry]:
        """What is worth to be given to a model: heard words, and calls that were answered."""
        return [entry for entry in self._entries if entry.worth]

    def user(self, text: str, item: str = "") -> Entry:
        """The user said or wrote this; again with the same item, it replaces what was known."""
        entry = self._of("user", item) if item else None
        if entry is None:
            return self._add(Entry(role="user", item=item, text=text))
        entry.text = text
        return entry

    def begin(self, item: str) -> Entry:
        """The user has said something; what, may be known already."""
        return (self._of("user", item) if item else None) or self._add(Entry(role="user", item=item))

    def assistant(self, text: str, item: str = "", response: str = "") -> Entry:
        """The agent goes on with an item."""
        entry = self._of("assistant", item, response)
        if entry is None:
            entry = self._add(Entry(role="assistant", item=item, response=response))
        entry.text += text
        return entry

    def heard(self, text: str, item: str = "", response: str = "") -> None:
        """Of an item of the agent's, this was heard."""
        entry = self._of("assistant", item, response)
        if entry is not None:
            entry.heard = text

    def call(self, call: str, name: str, arguments: str, response: str = "") -> Entry:
        """The agent called a tool."""
        for entry in self._entries:
            if entry.role == "call" and entry.call == call:
                return entry
        return self._add(Entry(role="call", call=call, name=name, arguments=arguments, response=response))

    def result(self, call: str, output: str) -> Entry | None:
        """A tool answered; None when nobody called it."""
        for entry in reversed(self._entries):
            if entry.role == "call" and entry.call == call:
                entry.output = output
                return entry
        return None

    def forget(self, item: str) -> None:
        """An item is no part of the conversation."""
        self._entries = [entry for entry in self._entries if not item or entry.item != item]

    def _of(self, role: Role, item: str, response: str = "") -> Entry | None:
        for entry in reversed(self._entries):
            if entry.role == role and entry.item == item and entry.response == response:
                return entry
        return None

    def _add(self, entry: Entry) -> Entry:
        self._entries.append(entry)
        del self._entries[: max(0, len(self._entries) - self.capacity)]
        return entry
