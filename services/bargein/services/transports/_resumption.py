"""`ResumptionStore`: the conversations of sessions that failed or whose peer was lost, each under its token."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from bargein.services.history import History

__all__ = ["ResumptionStore"]

TOKEN_BYTES = 16
"""Random bytes in a token. Nobody can guess 128 bits."""


class _Conversation(NamedTuple):
    histories: Sequence[History]
    expires_at: float


class ResumptionStore:
    """Keeps the histories of lost conversations in memory for a limited time. Drops the oldest when there are too many.

    Args:
        seconds: Time for which a conversation is kept, in seconds; 0 to keep none.
        max_conversations: Number of conversations that are kept at once.
    """

    def __init__(self, seconds: float, max_conversations: int) -> None:
        self._seconds = seconds
        self._max = max_conversations
        self._conversations: dict[str, _Conversation] = {}  # in the order in which they expire

    def __len__(self) -> int:
        return len(self._conversations)

    def issue(self) -> str:
        """Return a new token; an empty string if no conversation is kept."""
        return secrets.token_urlsafe(TOKEN_BYTES) if self._seconds else ""

    def put(self, token: str, histories: Sequence[History], now: float) -> None:
        """Keep a conversation: the histories of its brains, in the order in which they stand in the graph."""
        self._expire(now)
        self._conversations[token] = _Conversation(histories, now + self._seconds)
        while len(self._conversations) > self._max:
            del self._conversations[next(iter(self._conversations))]

    def take(self, token: str, now: float) -> Sequence[History]:
        """Remove and return a conversation; empty if there is none under this token."""
        self._expire(now)
        conversation = self._conversations.pop(token, None)
        return () if conversation is None else conversation.histories

    def _expire(self, now: float) -> None:
        while self._conversations:
            token, conversation = next(iter(self._conversations.items()))
            if conversation.expires_at > now:
                return
            del self._conversations[token]
