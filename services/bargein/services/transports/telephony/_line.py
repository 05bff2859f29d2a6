"""A telephone line behind a vendor's media stream: what is said on it, and how much of it was heard. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from bargein.pipeline import Audio, Frame, Interrupt, Played, ResponseEnded
from bargein.services.media.g711 import Codec
from bargein.services.transports._socket_transport import Marked
from bargein.services.transports.control import ControlError, Finish
from bargein.services.transports.transport import Dtmf

__all__ = ["MediaStreamFormat", "PhoneCall", "PhoneLine", "VendorEvent"]

Message = str | bytes
PIECE_MS: Final = 20
"""What goes out is as long as that, to the last: Telnyx takes nothing shorter."""
MARK_MS: Final = 100
"""So often the vendor is asked to say that it has played so far."""
GRACE: Final = 3.0
"""So many seconds after its time a mark that is not confirmed is taken for played: somebody waits for it."""
MARKS: Final = 1_000
"""So many marks are remembered: a vendor that never confirms one must not cost more and more."""
SECOND: Final = 1_000_000_000


class PhoneCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream says when it starts."""

    stream: str
    """Its id, which what is sent has to carry."""
    codec: Codec
    """The sound's format, both ways."""
    wishes: Mapping[str, str]
    """`provider`, `call`, `stream` and so on, and what the application had the vendor pass on."""
    token: str = ""
    """What the application had it pass on as `token`."""

    def __repr__(self) -> str:
        return f"Call({self.stream})"  # never the token


class VendorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a message of the vendor's means: one of these."""

    sound: bytes = b""
    """The caller's voice."""
    mark: str = ""
    """The name of a mark that has been played."""
    digit: str = ""
    """A key that the caller has pressed."""
    stop: str = ""
    """Why it is over."""


class MediaStreamFormat(Protocol):
    """How a vendor says it."""

    name: str
    """The vendor."""

    def opened(self, data: Message) -> PhoneCall | None:
        """The call, once a message tells of it; None for those before. Raises `ControlError`."""

    def said(self, data: Message) -> VendorEvent | None:
        """What a message means; None for nothing. Raises `ControlError`, and nothing else."""

    def media(self, call: PhoneCall, payload: bytes) -> str:
        """Play this."""

    def mark(self, call: PhoneCall, name: str) -> str:
        """Say this name when all before it has been played."""

    def clear(self, call: PhoneCall) -> str:
        """Forget all that has not been played."""


class _Item:
    """What has been sent of one item, and heard of it."""

    def __init__(self, epoch: int, now: float) -> None:
        self.epoch = epoch
        self.sent = 0.0  # milliseconds
        self.marked = 0.0  # up to where a mark has been set
        self.confirmed = 0.0
        self.since = now  # when that was

    def heard(self, now: float) -> float:
        """What was confirmed, and what has been played since, at the most."""
        return round(min(self.confirmed + 1000 * max(0.0, now - self.since), self.sent), 3)


class _Mark(NamedTuple):
    """What a mark's name stands for."""

    key: tuple[str, str]  # whose it is
    ms: float  # how far
    last: bool  # nothing of it follows
    due: float  # when it should have been played


class PhoneLine:
    """A wire for a socket transport: one call, in a dialect."""

    def __init__(self, dialect: MediaStreamFormat, call: PhoneCall, clock: Callable[[], float]) -> None:
        self._dialect = dialect
        self._call = call
        self._clock = clock
        self._count = 0  # samples that came
        self._rest: npt.NDArray[np.int16] = np.empty(0, np.int16)  # less than a piece
        self._of: tuple[str, str] = ("", "")  # whose
        self._items: dict[tuple[str, str], _Item] = {}
        self._marks: dict[str, _Mark] = {}  # that have not been confirmed, in order
        self._until = 0.0  # when all that was sent will have been played, by our clock
        self._number = 0
        self._cut: list[Played] = []  # what an interrupt has ended

    # In -----------------------------------------------------------------------------------------------------------

    def received(self, data: Message) -> Iterator[Frame | Finish]:
        """The caller's sound and keys, marks, and the end. Raises `ControlError`."""
        said = self._dialect.said(data)
        if said is None:
            return
        if said.sound:
            codec = self._call.codec
            if len(said.sound) % codec.width:
                raise ControlError(f"this is no sound: {len(said.sound)} bytes are no whole number of samples")
            samples = codec.decode(said.sound)
            overdue = next(iter(self._marks.items()), None)
            if overdue is not None and overdue[1].due + GRACE < self._clock():
                yield Marked(mark=overdue[0])
            yield Audio(samples=samples, rate=codec.rate, pts=self._count * SECOND // codec.rate)
            self._count += len(samples)
        elif said.mark:
            yield Marked(mark=said.mark)
        elif said.digit:
            yield Dtmf(digit=said.digit)
        elif said.stop:
            yield Finish(reason=said.stop)

    # Out ----------------------------------------------------------------------------------------------------------

    def sound(self, frame: Audio) -> Iterator[Message]:
        """The agent's sound, and marks in it."""
        key = (frame.response_id, frame.item_id)
        if key != self._of:
            yield from self._flush()
            self._of = key
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(frame.epoch, self._clock())
        if item.sent <= item.confirmed:  # all before it has been played: it begins now
            item.since = self._clock()
        self._rest = np.concatenate((self._rest, frame.samples.reshape(-1)))
        yield from self._pieces(item)

    def _pieces(self, item: _Item) -> Iterator[Message]:
        step = self._step
        while len(self._rest) >= step:
            piece, self._rest = self._rest[:step], self._rest[step:]
            yield self._media(piece)
            item.sent += PIECE_MS
            if self._of[0] and item.sent >= item.marked + MARK_MS:
                yield self._mark(self._of, item, last=False)

    def _flush(self) -> Iterator[Message]:
        """What is less than a piece, made as long as one."""
        item, rest = self._items.get(self._of), self._rest
        self._rest = rest[:0]
        if item is not None and len(rest):
            yield self._media(np.concatenate((rest, np.zeros(self._step - len(rest), np.int16))))
            item.sent += 1000 * len(rest) / self._call.codec.rate

    @property
    def _step(self) -> int:
        return self._call.codec.rate * PIECE_MS // 1000

    def _media(self, samples: npt.NDArray[np.int16]) -> Message:
        self._until = max(self._until, self._clock()) + PIECE_MS / 1000
        return self._dialect.media(self._call, self._call.codec.encode(np.ascontiguousarray(samples)))

    def _mark(self, key: tuple[str, str], item: _Item, *, last: bool) -> str:
        self._number += 1
        name = f"{self._number}"
        item.marked = item.sent
        self._marks[name] = _Mark(key, item.sent, last, self._until)
        if len(self._marks) > MARKS:
            del self._marks[next(iter(self._marks))]
        return self._dialect.mark(self._call, name)

    def news(self, frame: Frame) -> Iterator[Message]:
        """An interrupt clears what the vendor has; the end of a response is marked."""
        if isinstance(frame, Interrupt):
            yield from self._interrupt(frame.epoch)
        elif isinstance(frame, ResponseEnded):
            if self._of[0] == frame.response_id:
                yield from self._flush()
            for key, item in self._items.items():
                if key[0] == frame.response_id:
                    yield self._mark(key, item, last=True)

    def _interrupt(self, epoch: int) -> Iterator[Message]:
        now = self._clock()
        self._rest = self._rest[:0]
        gone = [key for key, item in self._items.items() if item.epoch < epoch]
        for key in gone:
            heard = self._items.pop(key).heard(now)
            if key[0]:
                self._cut.append(Played(response_id=key[0], item_id=key[1], ms=heard, done=True))
        self._marks = {name: mark for name, mark in self._marks.items() if mark.key in self._items}
        self._until = now
        if gone:  # a vendor that has nothing to play need not be told
            yield self._dialect.clear(self._call)

    def played(self, frame: Frame) -> Iterator[Played]:
        """What the vendor's marks say, and what an interrupt has ended."""
        if isinstance(frame, Marked):
            mark = self._marks.pop(frame.mark, None)
            item = None if mark is None else self._items.get(mark.key)
            if mark is not None and item is not None:
                item.confirmed, item.since = mark.ms, self._clock()
                if mark.last:
                    del self._items[mark.key]
                yield Played(response_id=mark.key[0], item_id=mark.key[1], ms=mark.ms, done=mark.last)
        elif self._cut:
            yield from self._cut
            self._cut.clear()

    def wrong(self, error: ControlError) -> Message | None:
        """A vendor is not told."""
        return None

    def ending(self, reason: str) -> Message | None:
        """The end of a stream is that of its socket."""
        return None
