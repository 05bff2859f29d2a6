"""What waits to be written to a peer: bounded, with a lane for what cannot wait. No I/O."""

from __future__ import annotations

from collections import deque

from bargein.pipeline import LIVE

__all__ = ["MessageQueue"]

Message = str | bytes


class MessageQueue:
    """Messages in order; urgent ones ahead of all others. Sound beyond a bound pushes out the oldest sound."""

    def __init__(self, *, sound_ms: float, messages: int) -> None:
        self.sound_ms = sound_ms
        """So much sound may wait, in milliseconds."""
        self.messages = messages
        """So many messages may wait."""
        self.dropped = 0
        """Pieces of sound that were pushed out: the peer does not keep up."""
        self.flushed = 0
        """Messages that an interrupt expired."""
        self._urgent: deque[Message] = deque()
        self._waiting: deque[tuple[Message, int, float]] = deque()  # with its epoch, and how long it sounds
        self._ms = 0.0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    @property
    def overfull(self) -> bool:
        """More waits than may: the peer cannot be helped."""
        return len(self) > self.messages

    def add(self, data: Message, *, epoch: int = LIVE, ms: float = 0.0) -> None:
        """Add a message of an epoch; `ms` milliseconds of sound are in it."""
        self._waiting.append((data, epoch, ms))
        self._ms += ms
        while ms and self._ms > self.sound_ms:
            at = next(at for at, (_, _, each) in enumerate(self._waiting) if each)
            self._ms -= self._waiting[at][2]
            del self._waiting[at]
            self.dropped += 1

    def urgent(self, data: Message) -> None:
        """Add what goes ahead of all that waits, but for what is urgent as well."""
        self._urgent.append(data)

    def flush(self, epoch: int) -> None:
        """Drop all that is older than an epoch."""
        kept = deque(each for each in self._waiting if each[1] >= epoch)
        self.flushed += len(self._waiting) - len(kept)
        self._waiting = kept
        self._ms = sum(ms for _, _, ms in kept)

    def pop(self) -> Message | None:
        """The next message; None if there is none."""
        if self._urgent:
            return self._urgent.popleft()
        if not self._waiting:
            return None
        data, _, ms = self._waiting.popleft()
        self._ms -= ms
        return data

    def clear(self) -> None:
        """Drop all but what is urgent: nobody listens any more."""
        self._waiting.clear()
        self._ms = 0.0
