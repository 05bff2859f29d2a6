"""The user's audio and pictures, kept while nothing may be sent."""

from __future__ import annotations

from collections import deque

__all__ = ["PendingInput"]


class PendingInput:
    """A queue of encoded messages: the newest audio, up to a limit, and the newest picture.

    Args:
        max_ms: Audio that is kept, in milliseconds. When more arrives, the oldest is dropped.
    """

    def __init__(self, max_ms: float) -> None:
        self.dropped_ms = 0.0
        """Milliseconds of audio that were dropped because the queue was full."""
        self._max_ms = max_ms
        self._ms = 0.0
        self._messages: deque[tuple[str, float]] = deque()
        """Each message with the milliseconds of audio in it; 0 for a picture."""

    def __bool__(self) -> bool:
        return bool(self._messages)

    def add_audio(self, message: str, ms: float) -> None:
        """Append a piece of audio of this length in milliseconds."""
        self._messages.append((message, ms))
        self._ms += ms
        self.dropped_ms += self.trim(self._max_ms)

    def set_picture(self, message: str) -> None:
        """Append a picture, and drop the one before it."""
        self.take_picture()
        self._messages.append((message, 0.0))

    def trim(self, ms: float) -> float:
        """Drop the oldest messages until about `ms` milliseconds of audio are left. Return how many were dropped."""
        before = self._ms
        while self._messages and self._ms - self._messages[0][1] >= ms:
            self._ms -= self._messages.popleft()[1]
        return before - self._ms

    def take(self) -> list[str]:
        """Remove and return all messages, in order."""
        messages = [message for message, _ in self._messages]
        self._messages.clear()
        self._ms = 0.0
        return messages

    def take_picture(self) -> list[str]:
        """Remove and return the picture alone: a list of one message, or of none."""
        found = [message for message, ms in self._messages if not ms]
        if found:
            self._messages = deque((message, ms) for message, ms in self._messages if ms)
        return found
