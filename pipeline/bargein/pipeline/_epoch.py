"""The epoch of a running session: one number that only grows."""

from __future__ import annotations

__all__ = ["Epoch"]


class Epoch:
    """The number itself, and the rule that one cause advances it once.

    Read `number` directly: a frame is stale when `frame.epoch < epoch.number`, and every hot path makes that
    comparison.
    """

    __slots__ = ("coalesced", "number", "replied", "steps")

    def __init__(self) -> None:
        self.number = 0
        self.replied = -1  # the latest epoch in which a response began
        self.steps = 0  # interrupts that advanced the number
        self.coalesced = 0  # interrupts that did not, because their cause had been served

    def begin_response(self) -> int:
        """Record that a response begins, so that an interrupt has something to end. Return the response's epoch."""
        self.replied = self.number
        return self.number

    def advance(self, *, about: int, automatic: bool) -> bool:
        """Advance the number, unless this interrupt repeats an earlier one.

        The local VAD, the server's own speech-started event and the cancelled response are one interruption. So an
        automatic interrupt advances only when a response has begun in the current epoch.

        Args:
            about: The epoch that the interrupt is to end. `LIVE` for the current one.
            automatic: Whether a processor sent it. The application's own interrupts always advance.

        Returns:
            Whether the number has advanced.
        """
        if automatic and (self.replied < self.number or about < self.number):
            self.coalesced += 1
            return False
        self.number += 1
        self.steps += 1
        return True
