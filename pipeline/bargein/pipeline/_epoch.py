"""The epoch of a running session: one number that only grows."""

from __future__ import annotations

__all__ = ["Epoch"]


class Epoch:
    """The number itself, and the rule that one cause makes one step.

    Read `number` directly: a frame is stale when `frame.epoch < epoch.number`, and that comparison stands on every
    hot path.
    """

    __slots__ = ("coalesced", "number", "replied", "steps")

    def __init__(self) -> None:
        self.number = 0
        self.replied = -1  # the latest epoch in which a response began
        self.steps = 0
        self.coalesced = 0

    def begin_response(self) -> int:
        """A response begins now: it belongs to the current epoch, and the next interrupt has something to end."""
        self.replied = self.number
        return self.number

    def advance(self, *, about: int, automatic: bool) -> bool:
        """Step, unless this interrupt says what an earlier one has said.

        `about` is the epoch that it means to end (LIVE for whichever is current). An automatic one steps only when a
        response has begun in the current epoch: the local VAD, the server's own speech-started and the cancelled
        response are one interruption.
        """
        if automatic and (self.replied < self.number or about < self.number):
            self.coalesced += 1
            return False
        self.number += 1
        self.steps += 1
        return True
