"""`PlaybackLedger`: what was heard of brains that have been left, which can no longer correct the conversation."""

from __future__ import annotations

from bargein.pipeline import Audio, Frame, Interrupt, Played, ResponseEnded, Text
from bargein.pipeline.lowlevel import Wakeup
from bargein.processors import Heard, Spoken
from bargein.services.history import Entry

from ._history_view import HistoryView

__all__ = ["PlaybackLedger"]

MAX_ITEMS = 64
"""How many items of responses are followed."""


class _PlayedItem:
    """One item of a response, as it was sent to the graph."""

    def __init__(self) -> None:
        self.text = ""  # given so far
        self.heard = ""
        self.has_sound = self.over = self.complete = False
        self.entry: Entry | None = None  # the entry to correct, once its brain has been left
        self.history: HistoryView | None = None  # that of the entry


class PlaybackLedger:
    """Follows what is sent to the graph, and how much of it is heard.

    A `Spoken` below the failover reports what is heard. Until it shows that it exists, this works it out from the
    `Played` frames of the sink, with its own `Spoken`.
    """

    def __init__(self) -> None:
        self.changed = Wakeup()
        """Set when more is known. For one waiter."""
        self._items: dict[tuple[str, str], _PlayedItem] = {}
        self._spoken: Spoken | None = Spoken()
        self._has_reports = False

    @property
    def playing(self) -> bool:
        """Whether something is being heard, or will be."""
        return self._has_reports and any(item.has_sound and not item.over for item in self._items.values())

    @property
    def undecided(self) -> bool:
        """Whether a report is still missing for an item of a brain that has been left."""
        return any(item.entry and not (item.over or item.complete) for item in self._items.values())

    async def decided(self) -> None:
        """Wait until no report is missing."""
        while self.undecided:
            await self.changed.wait()

    def on_frame(self, frame: Frame) -> None:
        """Note a frame that a brain sends to the graph."""
        if isinstance(frame, Audio | Text) and frame.response_id:
            item = self._items.setdefault((frame.response_id, frame.item_id), _PlayedItem())
            if isinstance(frame, Text):
                item.text += frame.text
            else:
                item.has_sound = True
            while len(self._items) > MAX_ITEMS:
                del self._items[next(iter(self._items))]
        elif isinstance(frame, ResponseEnded) and frame.outcome == "completed":
            for (response_id, _), item in self._items.items():
                item.complete = item.complete or response_id == frame.response_id
        self._feed_spoken(frame)

    def on_interrupt(self, epoch: int) -> None:
        """Note an interrupt: what has not been heard yet never will be."""
        self._feed_spoken(Interrupt(epoch=epoch))
        for item in self._items.values():
            # A complete answer is played to its end, unless this interrupt cuts it.
            item.complete = False
        self.changed.set()

    def on_spoken_below(self) -> None:
        """Note that there is a `Spoken` below, which reports."""
        self._has_reports, self._spoken = True, None

    def on_played(self, frame: Played) -> None:
        """Note how far a sink has played."""
        self._has_reports = True
        self._feed_spoken(frame)

    def on_heard(self, frame: Heard) -> None:
        """Note which words were heard."""
        item = self._items.get((frame.response_id, frame.item_id))
        if item is None:
            return
        item.heard, item.over = frame.text, item.over or frame.done
        if frame.done and item.entry is not None and item.history is not None:
            item.entry.heard = frame.text
            item.history.discard_if_empty(item.entry)
        self.changed.set()

    def leave(self, history: HistoryView, *, speaks: bool) -> None:
        """Mark the entries of a brain that has been left: only what is or will be heard is remembered.

        An entry of which nothing is heard is removed, as soon as that is known.

        Args:
            history: The brain's view of the conversation.
            speaks: Whether the brain has a voice.
        """
        # Only what this run wrote. The entries of earlier brains were settled when these were left.
        for entry in history.own:
            if entry.role != "assistant" or entry.heard is not None:
                continue
            item = self._items.get((entry.response_id, entry.item_id))
            if item is None:
                entry.heard = ""  # it was never sent to the graph
                history.discard_if_empty(entry)
            elif item.complete and not item.over and (item.has_sound or not speaks):
                item.entry, item.history = entry, history  # all of it was sent; a report of the rest will come
            elif item.over or self._has_reports or speaks:
                item.entry, item.history, entry.heard = entry, history, item.heard
                if item.over or not self._has_reports:  # otherwise a last report will come
                    history.discard_if_empty(entry)
            elif len(item.text) < len(entry.text):
                entry.heard = item.text  # the user read what was sent

    def _feed_spoken(self, frame: Frame) -> None:
        spoken = self._spoken
        if spoken is not None and spoken.contract.accepts(type(frame)):
            for report in spoken.process(frame):  # type: ignore[arg-type]  # its contract accepts the frame
                if isinstance(report, Heard):
                    self.on_heard(report)
