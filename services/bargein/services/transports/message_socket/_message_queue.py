"""`MessageQueue`: the messages that wait to be written to a peer, within bounds. No I/O."""

from __future__ import annotations

from collections import deque

from bargein.pipeline import LIVE

from .wire import Message

__all__ = ["MessageQueue"]


class MessageQueue:
    """Messages in order, with a lane for urgent ones. Sound beyond a bound pushes out the oldest sound.

    Args:
        max_audio_ms: How much sound may wait, in milliseconds.
        max_messages: How many messages may wait before the queue is `overfull`.
    """

    def __init__(self, *, max_audio_ms: float, max_messages: int) -> None:
        self.max_audio_ms = max_audio_ms
        self.max_messages = max_messages
        self.dropped = 0
        """Messages with sound that were pushed out, because the peer does not keep up."""
        self.flushed = 0
        """Messages that an interrupt made stale."""
        self._urgent: deque[Message] = deque()
        self._waiting: deque[tuple[Message, int, float]] = deque()  # each with its epoch and its milliseconds of sound
        self._ms = 0.0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    @property
    def overfull(self) -> bool:
        """Whether more messages wait than `max_messages`. Dropping sound does not help such a peer."""
        return len(self) > self.max_messages

    def add(self, data: Message, *, epoch: int = LIVE, ms: float = 0.0) -> None:
        """Add a message of an epoch that holds this many milliseconds of sound."""
        self._waiting.append((data, epoch, ms))
        self._ms += ms
        while ms and self._ms > self.max_audio_ms:
            at = next(at for at, (_, _, each) in enumerate(self._waiting) if each)
            self._ms -= self._waiting[at][2]
            del self._waiting[at]
            self.dropped += 1

    def add_urgent(self, data: Message) -> None:
        """Add a message ahead of all that are not urgent."""
        self._urgent.append(data)

    def flush(self, epoch: int) -> None:
        """Drop all messages that are older than an epoch."""
        fresh = deque(each for each in self._waiting if each[1] >= epoch)
        self.flushed += len(self._waiting) - len(fresh)
        self._waiting = fresh
        self._ms = sum(ms for _, _, ms in fresh)

    def pop(self) -> Message | None:
        """Remove and return the next message; None if there is none."""
        if self._urgent:
            return self._urgent.popleft()
        if not self._waiting:
            return None
        data, _, ms = self._waiting.popleft()
        self._ms -= ms
        return data

    def clear(self) -> None:
        """Drop all messages that are not urgent."""
        self._waiting.clear()
        self._ms = 0.0
