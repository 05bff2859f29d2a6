"""The queue in front of a model that serves one caller at a time."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["BusyError", "CallQueue", "Ticket"]


class BusyError(RuntimeError):
    """Too many callers wait for a model."""


class Ticket:
    """A place in a queue."""


class CallQueue:
    """Callers of one model in the order in which they came, from any thread and event loop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[Ticket] = deque()  # the first one is served
        self._peak = 0

    @property
    def busy(self) -> bool:
        """Whether a caller is served."""
        return bool(self._line)

    @property
    def waiting(self) -> int:
        """Callers that wait."""
        return max(0, len(self._line) - 1)

    @property
    def waiting_peak(self) -> int:
        """The most callers that ever waited at once."""
        return self._peak

    def join(self, max_waiting: int) -> Ticket:
        """Return a place at the end. Each one must be given back by `leave`.

        Args:
            max_waiting: Maximum number of callers that may wait, this one included.

        Raises:
            BusyError: More would wait.
        """
        with self._changed:
            if len(self._line) > max_waiting:
                raise BusyError(f"{self.waiting} utterances wait for the model already")
            ticket = Ticket()
            self._line.append(ticket)
            self._peak = max(self._peak, self.waiting)
            return ticket

    def is_first(self, ticket: Ticket) -> bool:
        """Return whether the holder of a place is served now."""
        with self._changed:
            return bool(self._line) and self._line[0] is ticket

    def wait(self, ticket: Ticket) -> None:
        """Block the thread until the holder of a place is served or has left."""
        with self._changed:
            self._changed.wait_for(lambda: ticket not in self._line or self._line[0] is ticket)

    def leave(self, ticket: Ticket) -> None:
        """Give a place back."""
        with self._changed:
            self._line.remove(ticket)
            self._changed.notify_all()
