"""What is to be sent: in order, bounded, and kept while there is no connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import anyio

from bargein.pipeline.lowlevel import Wakeup

from .protocol import Message, Protocol

__all__ = ["COMMANDS", "SendQueue"]

RECENT_MS = 5000.0
"""How much of the sound that was sent last is sent again when a connection breaks before anything has come of it."""
COMMANDS = 64
"""How many commands wait for a connection, at most."""


class _Late(NamedTuple):
    """A command that waits for a protocol to put it in words."""

    make: Callable[[Protocol], Iterable[Message]]
    behind_sound: bool


class _Sound(NamedTuple):
    """Sound that waits: for a connection, or for the socket."""

    pcm: bytes
    ms: float
    pts: int


class SendQueue:
    """Messages for one provider, over however many connections. Of sound, at most so many seconds wait."""

    def __init__(self, seconds: float) -> None:
        self.bell = Wakeup()
        """Rings when there is something to send."""
        self.number = 0
        """Of the connection, from 1."""
        self.protocol: Protocol | None = None
        """What puts things in words; None without a connection."""
        self.open = False
        """There is a session that can be used."""
        self._lost_ms = 0.0
        self.heard_until = anyio.current_time()
        """Until when what was heard lasts, if it is played as it comes."""
        self._most = seconds * 1000
        self._waiting_ms = 0.0
        self._queue: deque[Message | _Sound | _Late] = deque()
        self._taken: _Sound | None = None  # and perhaps not sent
        self._recent: deque[_Sound] = deque()  # was sent, and nothing has come of it
        self._recent_ms = 0.0
        self._origin: int | None = None  # pts of the first sound sent on this connection

    def __bool__(self) -> bool:
        return self.open and bool(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def dropped_ms(self) -> float:
        """How much sound was lost because it could not be sent in time."""
        return self._lost_ms + (self.protocol.dropped_ms if self.protocol is not None else 0.0)

    def connect(self, protocol: Protocol) -> None:
        """A new connection, of which nothing is known but its language."""
        self.protocol, self.open = protocol, False
        self.number += 1
        self._origin = None

    def disconnect(self) -> None:
        """The connection is gone, and with it the messages that were meant for it; sound and commands are kept."""
        self._lost_ms = self.dropped_ms
        self.protocol, self.open = None, False
        kept = [each for each in self._queue if isinstance(each, _Sound | _Late)]
        self._queue.clear()
        lost = [*self._recent, *([self._taken] if self._taken is not None else [])]
        self._waiting_ms += sum(each.ms for each in lost)
        self._queue.extend((*lost, *kept))
        self.understood()
        self._taken = None

    def begin(self, first: Iterable[Message]) -> None:
        """The session can be used: `first` goes before all that has waited for it."""
        waiting = list(self._queue)
        self._queue.clear()
        self._queue.extend(first)
        for each in waiting:  # in words now, before what is asked for next
            self._queue.extend([each] if not isinstance(each, _Late) or each.behind_sound else self._made(each))
        self.open = True
        self.bell.set()

    def post(self, messages: Iterable[Message]) -> None:
        """Send messages of this connection."""
        self._queue.extend(messages)
        self.bell.set()

    def command(self, make: Callable[[Protocol], Iterable[Message]], *, behind_sound: bool = False) -> None:
        """Send a command now, or when there is a session; put in words `behind_sound`, if that must come first."""
        if self.open and self.protocol is not None and not (behind_sound and self._waiting_ms):
            self.post(make(self.protocol))
            return
        self._queue.append(_Late(make, behind_sound))
        self.bell.set()
        if sum(isinstance(each, _Late) for each in self._queue) > COMMANDS:
            self._queue.remove(next(each for each in self._queue if isinstance(each, _Late)))

    def sound(self, pcm: bytes, ms: float, pts: int) -> None:
        """Send the user's sound. Where too much of it waits, the oldest is lost and counted."""
        self._queue.append(_Sound(pcm, ms, pts))
        self._waiting_ms += ms
        self.heard_until = max(self.heard_until, anyio.current_time()) + ms / 1000
        while self._waiting_ms > self._most:
            oldest = next(each for each in self._queue if isinstance(each, _Sound))
            self._queue.remove(oldest)
            self._waiting_ms -= oldest.ms
            self._lost_ms += oldest.ms
        self.bell.set()

    def quiet(self, pcm: bytes, ms: float) -> None:
        """Send silence where there was no sound, unless the socket is behind already."""
        self.heard_until = max(self.heard_until, anyio.current_time() - 2 * ms / 1000) + ms / 1000
        if self.open and self.protocol is not None and not self._queue:
            self.post(_messages(self.protocol.audio(pcm)))

    def take(self) -> Iterable[Message]:
        """The next thing to send, in words; nothing when there is none."""
        if not self or self.protocol is None:
            return ()
        first = self._queue.popleft()
        self._taken = first if isinstance(first, _Sound) else None
        if isinstance(first, _Late):
            return self._made(first)
        if isinstance(first, _Sound):
            self._waiting_ms -= first.ms
            if self._origin is None:
                self._origin = first.pts
            return _messages(self.protocol.audio(first.pcm))
        return (first,)

    def sent(self) -> None:
        """What was taken has been sent."""
        if self._taken is not None:
            self._recent.append(self._taken)
            self._recent_ms += self._taken.ms
            self._taken = None
            while self._recent_ms > RECENT_MS:
                self._recent_ms -= self._recent.popleft().ms

    @property
    def unheard(self) -> bool:
        """Sound has been sent of which nothing has come yet."""
        return bool(self._recent)

    def understood(self) -> None:
        """Something has come of the sound: if the connection breaks, it need not be sent again."""
        self._recent.clear()
        self._recent_ms = 0.0

    def _made(self, late: _Late) -> Iterable[Message]:
        assert self.protocol is not None
        return late.make(self.protocol)

    def pts(self, ms: float) -> int:
        """Media time of a position in the sound that was sent on this connection."""
        return (self._origin or 0) + round(ms * 1e6)


def _messages(made: Message | Iterable[Message]) -> Iterable[Message]:
    return (made,) if isinstance(made, str | bytes) else made
