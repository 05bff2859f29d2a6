"""What the user says and shows while nothing may be sent."""

from __future__ import annotations

from collections import deque

__all__ = ["PendingInput"]


class PendingInput:
    """Messages that wait, in order: so many milliseconds of sound, the newest, and the newest picture."""

    def __init__(self, most_ms: float) -> None:
        self.dropped_ms = 0.0
        """How much sound there was no room for."""
        self._most_ms = most_ms
        self._ms = 0.0
        self._messages: deque[tuple[str, float]] = deque()  # and how long each sounds

    def __bool__(self) -> bool:
        return bool(self._messages)

    def sound(self, message: str, ms: float) -> None:
        """A piece of sound."""
        self._messages.append((message, ms))
        self._ms += ms
        self.dropped_ms += self.trim(self._most_ms)

    def picture(self, message: str) -> None:
        """A picture, in place of an older one."""
        self.pictures()
        self._messages.append((message, 0.0))

    def trim(self, ms: float) -> float:
        """Keep the newest sound, so much at least; returns how much is gone."""
        before = self._ms
        while self._messages and self._ms - self._messages[0][1] >= ms:
            self._ms -= self._messages.popleft()[1]
        return before - self._ms

    def take(self) -> list[str]:
        """All of it."""
        messages = [message for message, _ in self._messages]
        self._messages.clear()
        self._ms = 0.0
        return messages

    def pictures(self) -> list[str]:
        """The picture alone, if there is one."""
        found = [message for message, ms in self._messages if not ms]
        if found:
            self._messages = deque((message, ms) for message, ms in self._messages if ms)
        return found
