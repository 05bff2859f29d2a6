"""When and how often to connect again."""

from __future__ import annotations

from random import Random

import msgspec

from bargein.pipeline.lowlevel import CheckedFields, check_not_negative

__all__ = ["ReconnectPolicy"]


class ReconnectPolicy(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """How a lost connection is restored, and when a session is replaced before it runs out.

    Raises `ValueError` for a field that is negative or not finite, and `TypeError` for one that is not a number.
    """

    max_attempts: int = 5
    """Maximum number of failed attempts in a row; 0 to never connect again."""
    first_seconds: float = 0.5
    """Wait before the second attempt, in seconds. The first follows at once. Each further wait is twice as long."""
    max_seconds: float = 10.0
    """Longest wait, in seconds."""
    jitter: float = 0.3
    """Each wait varies by up to this share, so that many callers do not come back at the same moment."""
    ready_seconds: float = 15.0
    """How long a session may take to become ready, in seconds."""
    silent_seconds: float = 20.0
    """How long the provider may send nothing while an answer is due, in seconds. Then the connection counts as dead."""
    renew_seconds: float = 60.0
    """From how many seconds before its limit a session is replaced, in the first pause of the conversation."""
    gap_seconds: float = 15.0
    """How much of the user's audio is kept without a connection, in seconds. Older audio is dropped and counted."""

    def __post_init__(self) -> None:
        check_not_negative("ReconnectPolicy", **{name: getattr(self, name) for name in self.__struct_fields__})

    def wait(self, attempt: int, random: Random) -> float:
        """Return the seconds to wait before an attempt.

        Args:
            attempt: Number of the attempt, from 1.
            random: Source of the jitter.
        """
        if attempt <= 1:
            return 0.0
        wait = min(self.max_seconds, self.first_seconds * 2.0 ** (attempt - 2))
        return wait * random.uniform(1 - self.jitter, 1 + self.jitter)
