"""`EntryList`: the stored entries of a conversation, within limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from bargein.pipeline.lowlevel import check_options

from .entry import Entry, Role

__all__ = ["EntryList"]


class EntryList:
    """Entries in the order in which they began, bounded in number, characters and pictures.

    When there is no room, the oldest entries are dropped, and `system` entries and calls without a result last. Only
    the newest pictures keep their data.

    Args:
        max_entries: Maximum number of entries, at least 1.
        max_characters: Maximum number of characters of all texts, at least 1. None for no limit.
        max_pictures: Maximum number of pictures, 0 or more.
    """

    @check_options
    def __init__(self, max_entries: int, max_characters: int | None, max_pictures: int) -> None:
        if max_entries < 1:
            raise ValueError(f"History(max_entries={max_entries}): expected a positive number of entries")
        if max_characters is not None and max_characters < 1:
            raise ValueError(f"History(max_characters={max_characters}): expected a positive number, or None")
        if max_pictures < 0:
            raise ValueError(f"History(max_pictures={max_pictures}): expected a number of pictures, 0 or more")
        self.max_entries = max_entries
        self.max_characters = max_characters
        self.max_pictures = max_pictures
        self.forgotten = 0
        """Entries that were dropped because there was no room."""
        self.added = 0
        """Total number of entries that were added."""
        self._entries: list[Entry] = []

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __reversed__(self) -> Iterator[Entry]:
        return reversed(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def characters(self) -> int:
        """Number of characters that a model has to read in all entries."""
        return sum(entry.characters for entry in self._entries)

    @property
    def crowded(self) -> bool:
        """Whether more than three quarters of the room are used."""
        if 4 * len(self._entries) > 3 * self.max_entries:
            return True
        return self.max_characters is not None and 4 * self.characters > 3 * self.max_characters

    def find(self, role: Role, item_id: str, response_id: str = "") -> Entry | None:
        """Return the newest entry of a role with these ids, or None.

        Args:
            role: The role.
            item_id: Id of the item.
            response_id: Id of the response. Default: empty, for entries of no response.
        """
        for entry in reversed(self._entries):
            if entry.role == role and entry.item_id == item_id and entry.response_id == response_id:
                return entry
        return None

    def find_call(self, call_id: str) -> Entry | None:
        """Return the newest call of an id, or None.

        Args:
            call_id: Id of the call.
        """
        return next((entry for entry in reversed(self) if entry.role == "call" and entry.call_id == call_id), None)

    def add(self, entry: Entry) -> Entry:
        """Add an entry at the end, and drop the oldest ones if there is no room.

        Args:
            entry: The entry.
        """
        self._entries.append(entry)
        self.added += 1
        while len(self._entries) > 1 and self._full:
            dropped = self._entries.pop(self._next_to_drop())
            self.forgotten += dropped.summarises or 1
        return entry

    def extend(self, entries: Iterable[Entry], forgotten: int) -> None:
        """Add the entries of another conversation, which had already dropped some.

        Args:
            entries: The entries, the oldest first.
            forgotten: Number of entries that were dropped before them.
        """
        self.forgotten = forgotten
        for entry in entries:
            self.add(entry)
        self.drop_old_pictures()

    def remove_item(self, item_id: str) -> None:
        """Remove all entries of an item.

        Args:
            item_id: Id of the item. An empty one removes nothing.
        """
        if item_id:
            self._entries[:] = [entry for entry in self._entries if entry.item_id != item_id]

    def remove(self, entry: Entry) -> None:
        """Remove an entry, if it is there.

        Args:
            entry: The entry object itself; an equal one is not removed.
        """
        self._entries[:] = [each for each in self._entries if each is not entry]

    def drop_old_pictures(self) -> None:
        """Drop the data of all but the newest pictures, and remove entries that held nothing else."""
        room = self.max_pictures
        for entry in reversed(self._entries):
            if entry.pictures:
                kept = [msgspec.structs.replace(picture, data=b"") for picture in entry.pictures]
                for at in reversed(range(len(kept))):
                    if entry.pictures[at].data and room:
                        kept[at], room = entry.pictures[at], room - 1
                entry.pictures = tuple(kept)
        empty = [
            entry
            for entry in self._entries
            if entry.pictures and not entry.available_pictures and not entry.remembered.strip()
        ]
        self.forgotten += len(empty)
        self._entries[:] = [entry for entry in self._entries if not any(entry is other for other in empty)]

    def older_half(self) -> list[Entry]:
        """Return the entries that a summary should replace: about the older half.

        The last of them is followed by a turn of the user. They include earlier summaries, but no other `system`
        entries. The list is empty if a call among them has no result yet, or if the whole conversation is one turn.
        """
        entries = self._entries
        first_open = next((at for at, entry in enumerate(entries) if entry.open), len(entries))
        ends = [at for at, entry in enumerate(entries[: first_open + 1]) if at and entry.role == "user"]
        if not ends:
            return []
        half, read, middle = self.characters / 2, 0, 0
        for middle, entry in enumerate(entries):  # noqa: B007  # the loop looks for the entry that holds the middle
            read += entry.characters
            if read > half:
                break
        middle = min(middle, len(entries) // 2)
        end = min(ends, key=lambda at: abs(at - middle))
        return [entry for entry in entries[:end] if entry.role != "system" or entry.summarises]

    def replace(self, taken: list[Entry], summary: str) -> bool:
        """Replace entries by a summary.

        Args:
            taken: The entries to replace. Some may have been dropped in the meantime.
            summary: The text. It is refused unless it is shorter than the entries.

        Returns:
            Whether the entries were replaced.
        """
        places = [at for at, entry in enumerate(self._entries) if any(entry is other for other in taken)]
        if not places or not 0 < len(summary) < sum(entry.characters for entry in taken):
            return False
        count = sum(entry.summarises or 1 for entry in taken)
        self._entries[places[0]] = Entry(role="system", text=summary, summarises=count)
        for at in reversed(places[1:]):
            del self._entries[at]
        return True

    @property
    def _full(self) -> bool:
        if len(self._entries) > self.max_entries:
            return True
        return self.max_characters is not None and self.characters > self.max_characters

    def _next_to_drop(self) -> int:
        """Return the index of the next entry to drop. The newest entry always stays."""
        for spared in ({"system", "open"}, {"open"}, set[str]()):
            for at, entry in enumerate(self._entries[:-1]):
                if entry.role not in spared and not ("open" in spared and entry.open):
                    return at
        return 0
