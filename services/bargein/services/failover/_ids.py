"""One conversation, several brains: ids that cannot collide, and each brain's own view of the history."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec

from bargein.pipeline import Frame, Played
from bargein.processors import AgentActivity, Heard
from bargein.services.history import Entry, History, Picture

__all__ = ["HistoryView", "Ids"]

ABOVE = 256
"""How many ids that came from above the brains are known: they are nobody's."""
NAMES = ("response_id", "item_id", "call_id")
LISTS = ("item_ids", "call_ids")


class Ids:
    """The ids of one run of a brain, inside it and outside. Those of the first run are the same on both sides."""

    def __init__(self, number: int, above: deque[str]) -> None:
        self.later = number > 1
        """Another run came before."""
        self._prefix = f"{number}." if self.later else ""
        self._above = above

    def outward(self, name: str) -> str:
        """As the rest of the graph, and the history, know what the brain calls so."""
        return name if not name or name in self._above else self._prefix + name

    def inward(self, name: str) -> str:
        """As the brain knows it; what is another brain's stays as it is."""
        return name.removeprefix(self._prefix)

    def given(self, frame: Frame) -> Frame:
        """A frame of the brain's, for the rest of the graph."""
        return _renamed(frame, self.outward) if self._prefix else frame

    def taken(self, frame: Frame) -> Frame:
        """A frame for the brain. News of what another one has said must not be taken for news of its own."""
        if not self._prefix:
            return frame
        return _renamed(frame, self._heard if isinstance(frame, Played | Heard | AgentActivity) else self.inward)

    def _heard(self, name: str) -> str:
        return name.removeprefix(self._prefix) if name.startswith(self._prefix) else f"0.{name}"


@cache
def _fields(kind: type[Frame]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = kind.__struct_fields__
    return tuple(name for name in NAMES if name in known), tuple(name for name in LISTS if name in known)


def _renamed(frame: Frame, rename: Callable[[str], str]) -> Frame:
    names, lists = _fields(type(frame))
    changed: dict[str, Any] = {}
    for name in names:
        if (old := getattr(frame, name)) and (new := rename(old)) != old:
            changed[name] = new
    for name in lists:
        if old := getattr(frame, name):
            changed[name] = tuple(map(rename, old))
    return msgspec.structs.replace(frame, **changed) if changed else frame


class HistoryView:
    """The history as one run of a brain sees it, in place of the history: all entries, and its own ids.

    What it does not know of is the history's own.
    """

    def __init__(self, history: Any, ids: Ids, heard: Callable[[], None]) -> None:
        self.mine: deque[Entry] = deque(maxlen=64)
        """The latest entries that came of this run."""
        self.closed = False
        """The brain has been left: what it still says is not written down."""
        self._all = history
        self._ids = ids
        self._heard = heard  # the user has said something new

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all, name)

    def said(self, text: str) -> bool:
        """Whether words of the user's have been written down in this run."""
        return any(entry.role == "user" and text.strip() in entry.text for entry in self.mine)

    def shown(self, data: object) -> bool:
        """Whether a picture has been."""
        return any(picture.data == data for entry in self.mine for picture in entry.pictures)

    def forget(self, item: str) -> None:
        """As `History.forget`, of an item of this run's."""
        self._all.forget(self._ids.outward(item))

    def user(self, text: str, item: str = "") -> Entry:
        """As `History.user`."""
        return self._noted(self._target.user(text, self._ids.outward(item)))

    def begin(self, item: str) -> Entry:
        """As `History.begin`."""
        return self._noted(self._target.begin(self._ids.outward(item)))

    def show(self, picture: Picture, item: str = "") -> Entry:
        """As `History.show`."""
        return self._noted(self._target.show(picture, self._ids.outward(item)))

    def assistant(self, text: str, item: str = "", response: str = "") -> Entry:
        """As `History.assistant`."""
        ids = self._ids
        return self._noted(self._target.assistant(text, ids.outward(item), ids.outward(response)))

    def set_heard(self, text: str, item: str = "", response: str = "") -> None:
        """As `History.set_heard`."""
        self._target.set_heard(text, self._ids.outward(item), self._ids.outward(response))

    def call(self, call: str, name: str, arguments: str, response: str = "") -> Entry:
        """As `History.call`."""
        ids = self._ids
        return self._noted(self._target.call(ids.outward(call), name, arguments, ids.outward(response)))

    def find_call(self, call: str) -> Entry | None:
        """As `History.find_call`, of this run's calls."""
        found: Entry | None = self._target.find_call(self._ids.outward(call))
        return found

    def result(self, call: str, output: str) -> Entry | None:
        """As `History.result`, of this run's calls first, and else of another brain's."""
        found: Entry | None = self._target.result(self._ids.outward(call), output) or self._target.result(call, output)
        return found

    @property
    def _target(self) -> Any:
        return History() if self.closed else self._all

    def _noted(self, entry: Entry) -> Entry:
        if not self.closed and not any(entry is each for each in self.mine):
            self.mine.append(entry)
            if entry.role == "user":
                self._heard()
        return entry
