"""`PlaybackLedger`: records what was heard of former brains, which can no longer correct the history themselves."""

from __future__ import annotations

from bargein.pipeline import Audio, Frame, Interrupt, Played, ResponseEnded, Text
from bargein.pipeline.lowlevel import Wakeup
from bargein.processors import Heard, Spoken
from bargein.services.history import Entry

from ._history_view import HistoryView

__all__ = ["PlaybackLedger"]

MAX_ITEMS = 64
"""Number of items of responses that are tracked."""


class _PlayedItem:
    """One item of a response, as it was sent to the graph."""

    def __init__(self) -> None:
        self.text = ""  # the text so far
        self.heard = ""
        self.has_sound = self.over = self.complete = False
        self.entry: Entry | None = None  # the entry to correct, once its brain has been left
        self.history: HistoryView | None = None  # the view that wrote the entry


class PlaybackLedger:
    """Tracks the responses that are sent to the outer graph, and which of their words are heard.

    A `Spoken` below the failover reports the heard words. Until its first report, this class computes them from the
    `Played` frames of the sink, with its own `Spoken`.
    """

    def __init__(self) -> None:
        self.changed = Wakeup()
        """Set when there is a new report. One task may wait for it."""
        self._items: dict[tuple[str, str], _PlayedItem] = {}
        self._spoken: Spoken | None = Spoken()
        self._has_reports = False

    @property
    def playing(self) -> bool:
        """Whether sound is being played, or waits to be played."""
        return self._has_reports and any(item.has_sound and not item.over for item in self._items.values())

    @property
    def undecided(self) -> bool:
        """Whether a report is still missing for an item of a former brain."""
        return any(item.entry and not (item.over or item.complete) for item in self._items.values())

    async def decided(self) -> None:
        """Wait until no report is missing."""
        while self.undecided:
            await self.changed.wait()

    def on_frame(self, frame: Frame) -> None:
        """Note a frame that a brain sends to the outer graph."""
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
        """Note an interrupt. The rest of the interrupted responses will not be heard."""
        self._feed_spoken(Interrupt(epoch=epoch))
        for item in self._items.values():
            # A complete answer would have been played to its end without this interrupt.
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
        """Limit the entries of a brain that is being left to the words that were heard or will be heard.

        An entry of which nothing is heard is removed as soon as that is known.

        Args:
            history: The brain's view of the conversation.
            speaks: Whether the brain sends sound.
        """
        # Only the entries of this run. Those of earlier brains were handled when these were left.
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
