"""What was heard of brains that have been left: they cannot correct the conversation any more."""

from __future__ import annotations

from bargein.pipeline import Audio, Frame, Interrupt, Played, ResponseEnded, Text
from bargein.pipeline.lowlevel import Wakeup
from bargein.processors import Heard, Spoken
from bargein.services.history import Entry

from ._ids import HistoryView

__all__ = ["PlaybackLedger"]

ITEMS = 64
"""How many items are followed."""


class _Item:
    """One item of a response, as it was given to the graph."""

    def __init__(self) -> None:
        self.text = ""  # that was given
        self.heard = ""
        self.sounds = self.over = self.complete = False
        self.entry: Entry | None = None  # to be corrected here


class PlaybackLedger:
    """Follows what is given, and what is heard of it: by what a `Spoken` below says, else by what the sink plays."""

    def __init__(self) -> None:
        self.bell = Wakeup()
        """Rings when more is known. For one waiter."""
        self._items: dict[tuple[str, str], _Item] = {}
        self._spoken: Spoken | None = Spoken()  # of our own, until there is one below
        self._told = False  # somebody says what is heard

    @property
    def playing(self) -> bool:
        """Something is being heard, or will be."""
        return self._told and any(item.sounds and not item.over for item in self._items.values())

    @property
    def doubtful(self) -> bool:
        """Of an item that a left brain made, it is not known yet how much was heard."""
        return any(each.entry and not (each.over or each.complete) for each in self._items.values())

    def gives(self, frame: Frame) -> None:
        """A brain gives this to the graph."""
        if isinstance(frame, Audio | Text) and frame.response_id:
            item = self._items.setdefault((frame.response_id, frame.item_id), _Item())
            if isinstance(frame, Text):
                item.text += frame.text
            else:
                item.sounds = True
            while len(self._items) > ITEMS:
                del self._items[next(iter(self._items))]
        elif isinstance(frame, ResponseEnded) and frame.outcome == "completed":
            for (response, _), item in self._items.items():
                item.complete = item.complete or response == frame.response_id
        self._ask(frame)

    def interrupted(self, epoch: int) -> None:
        """An interrupt: what has not been heard of it never will be."""
        self._ask(Interrupt(epoch=epoch))
        for item in self._items.values():
            item.complete = False
        self.bell.set()

    def told(self) -> None:
        """There is a `Spoken` below: nobody need guess."""
        self._told, self._spoken = True, None

    def plays(self, frame: Played) -> None:
        """A sink says how far it came."""
        self._told = True
        self._ask(frame)

    def heard(self, frame: Heard) -> None:
        """These words were heard."""
        item = self._items.get((frame.response_id, frame.item_id))
        if item is None:
            return
        item.heard, item.over = frame.text, item.over or frame.done
        if frame.done and item.entry is not None:
            item.entry.heard = frame.text
        self.bell.set()

    def leave(self, part: HistoryView, *, speaks: bool) -> None:
        """A brain has been left: of what it wrote only that is remembered which is or will be heard."""
        for entry in part.mine:
            if entry.role != "assistant" or entry.heard is not None:
                continue
            item = self._items.get((entry.response_id, entry.item_id))
            if item is None:
                entry.heard = ""  # it never came so far
            elif item.complete and not item.over and (item.sounds or not speaks):
                item.entry = entry  # it is all given: whoever hears the rest will say
            elif item.over or self._told or speaks:
                item.entry, entry.heard = entry, item.heard
            elif len(item.text) < len(entry.text):
                entry.heard = item.text  # it was read

    def _ask(self, frame: Frame) -> None:
        spoken = self._spoken
        if spoken is not None and spoken.contract.accepts(type(frame)):
            for each in spoken.process(frame):  # type: ignore[arg-type]  # it takes it
                if isinstance(each, Heard):
                    self.heard(each)
