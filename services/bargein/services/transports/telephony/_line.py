"""`PhoneLine`: the wire of a telephone call. It cuts sound into pieces and learns from marks what was heard. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bargein.pipeline import Audio, Frame, Interrupt, Played, ResponseEnded
from bargein.pipeline.lowlevel import ns
from bargein.services.transports.control import ControlError, Finish
from bargein.services.transports.frames import Dtmf
from bargein.services.transports.message_socket import Marked, Message

from ._format import MediaStreamFormat, PhoneCall

__all__ = ["PhoneLine"]

PIECE_MS: Final = 20
"""Length of every piece of sound that is sent, the last one included: Telnyx takes nothing shorter."""
MARK_MS: Final = 100
"""Sound between two marks."""
REPORT_MS: Final = 100
"""Sound between two reports of what was heard, by our clock."""
FIRST_DELAY_SECONDS: Final = 0.1
"""Assumed time from sending sound to the caller's ear, until the first mark of a call has measured it."""
LATE_SECONDS: Final = 0.25
"""A mark that is this much later than the fastest one of the call shows that the line has stalled."""
GRACE_SECONDS: Final = 3.0
"""Amount of the caller's sound after which a mark that was not confirmed counts as played, so that nothing waits for it
for ever. The clock would be wrong here: while a line has stalled, neither sound nor marks come."""
MAX_MARKS: Final = 1_000
"""Number of unconfirmed marks that are kept. A vendor that never confirms one must not use more and more memory."""

ItemKey = tuple[str, str]
"""The ids of a response and of its item."""


class _SentItem:
    """The amount of one item's sound that has been sent, confirmed and reported."""

    def __init__(self, epoch: int, begins: float) -> None:
        self.epoch = epoch
        self.sent = 0.0  # milliseconds
        self.marked = 0.0  # milliseconds before the latest mark
        self.confirmed = 0.0  # milliseconds that the vendor has confirmed
        self.since = begins  # when it confirmed them, or when the first sound reaches the ear
        self.reported = 0.0  # milliseconds that have been reported as heard

    def heard_ms(self, now: float) -> float:
        """Return what was confirmed plus what can have been played since then, in milliseconds. It never decreases.

        Args:
            now: The time at the caller's ear, in seconds.
        """
        return round(max(self.reported, min(self.confirmed + 1000 * max(0.0, now - self.since), self.sent)), 3)


class _SentMark(NamedTuple):
    """A mark in the sound that was sent, and its place in its item."""

    key: ItemKey
    ms: float  # sound of the item before the mark
    last: bool  # whether the item ends there
    sent_at: float
    due: float  # when it should have been played
    grace: float  # when it counts as played at the latest, in samples of the caller


class PhoneLine:
    """The `Wire` of one call.

    Args:
        stream_format: The vendor's messages.
        call: The call.
        clock: Returns the time in seconds.
    """

    def __init__(self, stream_format: MediaStreamFormat, call: PhoneCall, clock: Callable[[], float]) -> None:
        self._format = stream_format
        self._call = call
        self._clock = clock
        self._count = 0  # samples that came from the caller
        self._rest: npt.NDArray[np.int16] = np.empty(0, np.int16)  # sound that does not fill a piece yet
        self._current: ItemKey = ("", "")  # the item that the rest belongs to
        self._items: dict[ItemKey, _SentItem] = {}
        self._marks: dict[str, _SentMark] = {}  # not confirmed yet, in order
        self._played_until = 0.0  # when all that was sent will have been played, by our clock
        self._number = 0
        self._alive_at = -math.inf  # when the vendor's last message came
        self._delay = math.inf  # from sending sound to the caller's ear; infinite until a mark has measured it
        self._interrupted: list[Played] = []  # reports of items that an interrupt has ended

    # From the caller ------------------------------------------------------------------------------------------------

    def decode(self, data: Message) -> Iterator[Frame | Finish]:
        """Return the caller's sound and keys, confirmed marks, and the end. Raises `ControlError`."""
        event = self._format.decode_event(data)
        self._alive_at = self._clock()
        if event is None:
            return
        if event.audio:
            codec = self._call.codec
            if len(event.audio) % codec.sample_bytes:
                raise ControlError(f"this is not sound: {len(event.audio)} bytes are not whole samples")
            samples = codec.decode(event.audio)
            oldest = next(iter(self._marks.items()), None)
            if oldest is not None and oldest[1].grace < self._count:
                yield Marked(mark=oldest[0])
            yield Audio(samples=samples, rate=codec.rate, pts=ns(self._count, codec.rate))
            self._count += len(samples)
        elif event.mark:
            yield Marked(mark=event.mark)
        elif event.digit:
            yield Dtmf(digit=event.digit)
        elif event.stop:
            yield Finish(reason=event.stop)

    # To the caller --------------------------------------------------------------------------------------------------

    def encode_audio(self, frame: Audio) -> Iterator[Message]:
        """Return the messages with the agent's sound, and marks between them."""
        key = (frame.response_id, frame.item_id)
        if key != self._current:
            yield from self._flush_rest()
            self._current = key
        item = self._item(frame)
        if item.sent <= item.confirmed:  # all before it has been played, so this begins to play when it arrives
            item.since = self._arrival
        self._rest = np.concatenate((self._rest, frame.samples.reshape(-1)))
        yield from self._cut_pieces(item)

    def skip_audio(self, frame: Audio) -> None:
        """Count sound that the vendor never gets. What follows it is heard as if it had been played."""
        item = self._item(frame)
        item.sent += frame.ms
        item.since -= frame.ms / 1000

    def _item(self, frame: Audio) -> _SentItem:
        key = (frame.response_id, frame.item_id)
        if key not in self._items:
            self._items[key] = _SentItem(frame.epoch, self._arrival)
        return self._items[key]

    def _cut_pieces(self, item: _SentItem) -> Iterator[Message]:
        step = self._piece_samples
        while len(self._rest) >= step:
            piece, self._rest = self._rest[:step], self._rest[step:]
            yield self._encode_piece(piece)
            item.sent += PIECE_MS
            if self._current[0] and item.sent >= item.marked + MARK_MS:
                yield self._encode_mark(self._current, item, last=False)

    def _flush_rest(self) -> Iterator[Message]:
        """Return the last sound of an item, which does not fill a piece, padded with silence."""
        item, rest = self._items.get(self._current), self._rest
        self._rest = rest[:0]
        if item is not None and len(rest):
            yield self._encode_piece(np.concatenate((rest, np.zeros(self._piece_samples - len(rest), np.int16))))
            item.sent += 1000 * len(rest) / self._call.codec.rate

    @property
    def _delay_seconds(self) -> float:
        """Time from sending sound to the caller's ear, in seconds."""
        return FIRST_DELAY_SECONDS if self._delay == math.inf else self._delay

    @property
    def _arrival(self) -> float:
        """When sound that is sent now is heard: after all that was sent before it, and after the line's delay."""
        return max(self._played_until, self._clock()) + self._delay_seconds

    def _heard_ms(self, key: ItemKey, now: float) -> float:
        """Return how much of an item has been heard, in milliseconds, when it is `now` at the caller's ear.

        If a mark is late and nothing came since it was sent, the line has stalled. Sound before such a mark waits in
        the network and does not count as heard.
        """
        item = self._items[key]
        heard = item.heard_ms(now)
        late = self._clock() - 2 * self._delay - LATE_SECONDS  # minus infinity until a mark has come back
        for mark in self._marks.values():
            if mark.key == key and mark.due < late and mark.sent_at > self._alive_at:
                return max(item.reported, min(heard, mark.ms))
        return heard

    @property
    def _piece_samples(self) -> int:
        return self._call.codec.rate * PIECE_MS // 1000

    def _encode_piece(self, samples: npt.NDArray[np.int16]) -> Message:
        self._played_until = max(self._played_until, self._clock()) + PIECE_MS / 1000
        return self._format.encode_audio(self._call, self._call.codec.encode(np.ascontiguousarray(samples)))

    def _encode_mark(self, key: ItemKey, item: _SentItem, *, last: bool) -> str:
        self._number += 1
        name = f"{self._number}"
        item.marked = item.sent
        due = max(self._played_until, self._clock())
        grace = self._count + (due - self._clock() + GRACE_SECONDS) * self._call.codec.rate
        self._marks[name] = _SentMark(key, item.sent, last, self._clock(), due, grace)
        if len(self._marks) > MAX_MARKS:
            del self._marks[next(iter(self._marks))]
        return self._format.encode_mark(self._call, name)

    def encode_event(self, frame: Frame) -> Iterator[Message]:
        """Return a clear for an interrupt, and the last mark of a response for its end."""
        if isinstance(frame, Interrupt):
            yield from self._interrupt(frame.epoch)
        elif isinstance(frame, ResponseEnded):
            if self._current[0] == frame.response_id:
                yield from self._flush_rest()
            for key, item in self._items.items():
                if key[0] == frame.response_id:
                    yield self._encode_mark(key, item, last=True)

    def _interrupt(self, epoch: int) -> Iterator[Message]:
        now = self._clock()
        self._rest = self._rest[:0]
        stale = [key for key, item in self._items.items() if item.epoch < epoch]
        for key in stale:
            heard = self._heard_ms(key, now + self._delay_seconds)  # the vendor plays on until the clear arrives
            del self._items[key]
            if key[0]:
                self._interrupted.append(Played(response_id=key[0], item_id=key[1], ms=heard, done=True))
        self._marks = {name: mark for name, mark in self._marks.items() if mark.key in self._items}
        self._played_until = now
        if stale:  # otherwise the vendor has nothing to drop
            yield self._format.encode_clear(self._call)

    def report_played(self, frame: Frame) -> Iterator[Played]:
        """Return how much was heard: as marks confirm it, as an interrupt ends it, and between marks by the clock.

        Without the clock, an interrupt before the first mark is back would find that nothing was heard.
        """
        if isinstance(frame, Marked):
            yield from self._confirm(frame.mark)
        elif self._interrupted:
            yield from self._interrupted
            self._interrupted.clear()
        elif isinstance(frame, Audio) and self._current[0] and (item := self._items.get(self._current)) is not None:
            heard = self._heard_ms(self._current, self._clock())
            if heard >= item.reported + REPORT_MS:
                item.reported = heard
                yield Played(response_id=self._current[0], item_id=self._current[1], ms=heard)

    def _confirm(self, name: str) -> Iterator[Played]:
        mark = self._marks.pop(name, None)
        item = None if mark is None else self._items.get(mark.key)
        if mark is None or item is None:
            return
        now = self._clock()
        # The mark went to the vendor and came back, so half of its delay is the time to the ear. Slow vendors and
        # stalled lines make some marks later, so the smallest delay is the best measurement.
        self._delay = min(self._delay, max(0.0, now - mark.due) / 2)
        item.confirmed, item.since = mark.ms, now - self._delay
        if mark.last:
            del self._items[mark.key]
        elif mark.ms <= item.reported:
            return
        item.reported = max(item.reported, mark.ms)
        yield Played(response_id=mark.key[0], item_id=mark.key[1], ms=mark.ms, done=mark.last)

    def encode_error(self, error: ControlError) -> Message | None:
        """Return None: vendors take no error messages."""
        return None

    def encode_end(self, reason: str) -> Message | None:
        """Return None: a stream ends with its socket."""
        return None
