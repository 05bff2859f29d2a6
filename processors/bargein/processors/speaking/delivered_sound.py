"""How much of each item's sound a sink has delivered, and how much of it was dropped. No I/O, no waiting."""

from __future__ import annotations

import msgspec

from bargein.pipeline import Audio, Played

__all__ = ["DeliveredSound"]

MAX_ITEMS = 64
"""Number of items that are followed. No more reports come for items that are long past."""
ROUNDING_MS = 1.0
"""By how much sums of rounded durations may differ, in milliseconds."""


class _Item:
    """The sound of one item, in milliseconds."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.waiting = 0.0  # taken, and neither delivered nor dropped
        self.position = 0.0  # delivered or dropped
        self.gaps: list[tuple[float, float]] = []  # dropped, and not reported yet

    def advance(self, ms: float) -> None:
        self.waiting = max(0.0, self.waiting - ms)
        self.position += ms


class DeliveredSound:
    """Follows the sound that waits in a sink behind a `Pacer`, item by item.

    The pacer knows when sound is due. Only the sink knows whether it left: a queue for a slow listener drops sound. A
    sink calls `take` for all that it gets, and later `deliver` or `drop`, or `flush` after an interrupt. The pacer
    calls `limit` with each of its reports.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], _Item] = {}

    def take(self, frame: Audio) -> None:
        """Note sound that waits in the sink from now on.

        Args:
            frame: The sound.
        """
        key = (frame.response_id, frame.item_id)
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(frame.epoch)
            if len(self._items) > MAX_ITEMS:
                del self._items[next(iter(self._items))]
        item.waiting += frame.ms

    def deliver(self, frame: Audio) -> None:
        """Note that sound has left the sink for the listener.

        Args:
            frame: The sound, as it was taken.
        """
        if (item := self._items.get((frame.response_id, frame.item_id))) is not None:
            item.advance(frame.ms)

    def drop(self, frame: Audio) -> None:
        """Note that sound was dropped although it is not stale: the listener will have a gap.

        Args:
            frame: The sound, as it was taken.
        """
        if (item := self._items.get((frame.response_id, frame.item_id))) is not None:
            item.gaps.append((item.position, item.position + frame.ms))
            item.advance(frame.ms)

    def flush(self, epoch: float) -> None:
        """Note that nothing waits any more of the items that are older than an epoch.

        Args:
            epoch: The epoch of the interrupt.
        """
        for item in self._items.values():
            if item.epoch < epoch:
                item.waiting = 0.0

    def add_gaps(self, played: Played) -> Played:
        """Return a report with the gaps of its item that were not reported before.

        Args:
            played: The report.
        """
        item = self._items.get((played.response_id, played.item_id))
        if item is None or not item.gaps:
            return played
        gaps, item.gaps = tuple(item.gaps), []
        return msgspec.structs.replace(played, gaps=gaps)

    def limit(self, played: Played, *, wait: bool = True) -> Played | None:
        """Return a report of a player as far as it is true: with no more than was delivered, and with the gaps.

        Args:
            played: The report.
            wait: Whether the last report of an item may wait for sound that was not delivered yet.

        Returns:
            The report. None for one that has to wait: ask again later.
        """
        item = self._items.get((played.response_id, played.item_id))
        if item is None:
            return msgspec.structs.replace(played, ms=0.0)
        if wait and played.done and item.waiting > ROUNDING_MS:
            return None
        if item.position < played.ms - ROUNDING_MS:
            played = msgspec.structs.replace(played, ms=round(item.position, 3))
        return self.add_gaps(played)
