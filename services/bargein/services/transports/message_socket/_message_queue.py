"""`MessageQueue`: the messages that wait to be written to a peer, within bounds. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from bargein.pipeline import LIVE, Audio, Frame

from .wire import Message

__all__ = ["MessageQueue", "QueuedMessage"]


class QueuedMessage(NamedTuple):
    """A message that waits, or a frame whose messages are made when its turn comes."""

    data: Message | Frame
    epoch: int = LIVE
    ms: float = 0.0
    """The sound in it, in milliseconds."""


class MessageQueue:
    """Messages in order, with a separate queue for urgent ones. Sound beyond a bound pushes out the oldest sound.

    Args:
        max_audio_ms: Amount of sound that may wait, in milliseconds.
        max_messages: Number of messages that may wait before the queue is `overfull`.
        on_drop: Called with the sound that is pushed out.
    """

    def __init__(
        self, *, max_audio_ms: float, max_messages: int, on_drop: Callable[[Audio], None] = lambda frame: None
    ) -> None:
        self.max_audio_ms = max_audio_ms
        self.max_messages = max_messages
        self.dropped = 0
        """Messages with sound that were pushed out, because the peer does not keep up."""
        self.flushed = 0
        """Messages that an interrupt made stale."""
        self.epoch = 0
        """Messages that are older than this are stale."""
        self._on_drop = on_drop
        self._urgent: deque[QueuedMessage] = deque()
        self._waiting: deque[QueuedMessage] = deque()
        self._ms = 0.0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    @property
    def overfull(self) -> bool:
        """Whether more messages wait than `max_messages`. Dropping sound does not help such a peer."""
        return len(self) > self.max_messages

    def add(self, data: Message | Frame) -> None:
        """Add a message, or a frame whose messages are to be made."""
        ms = data.ms if isinstance(data, Audio) else 0.0
        self._waiting.append(QueuedMessage(data, data.epoch if isinstance(data, Frame) else LIVE, ms))
        self._ms += ms
        while ms and self._ms > self.max_audio_ms:
            at = next(at for at, message in enumerate(self._waiting) if message.ms)
            dropped = self._waiting[at].data
            assert isinstance(dropped, Audio), "nothing else has sound"
            self._ms -= dropped.ms
            del self._waiting[at]
            self.dropped += 1
            self._on_drop(dropped)

    def add_urgent(self, data: Message) -> None:
        """Add a message ahead of all that are not urgent."""
        self._urgent.append(QueuedMessage(data))

    def flush(self, epoch: int) -> None:
        """Drop all messages that are older than an epoch."""
        self.epoch = max(self.epoch, epoch)
        fresh = deque(message for message in self._waiting if message.epoch >= epoch)
        self.flushed += len(self._waiting) - len(fresh)
        self._waiting = fresh
        self._ms = sum(message.ms for message in fresh)

    def pop(self) -> QueuedMessage | None:
        """Remove and return the next message; None if there is none."""
        if self._urgent:
            return self._urgent.popleft()
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        self._ms -= message.ms
        return message

    def clear(self) -> None:
        """Drop all messages that are not urgent."""
        self._waiting.clear()
        self._ms = 0.0
