"""What the protocols of voices have in common, that speak many sentences over one connection. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from bargein.services.cascade.parts import Samples, Word

__all__ = ["SpeechPiece", "VoiceProtocol"]


class SpeechPiece(msgspec.Struct, frozen=True, kw_only=True):
    """What one message of a server says."""

    context: str | None
    """The sentence that it is about; None for all of the connection's."""
    pieces: Sequence[Samples | Word] = ()
    """Sound, and when its words sound."""
    done: bool = False
    """Nothing more will come of the sentence."""
    fault: str = ""
    """What the server complains of; then nothing more will come, either."""
    status: int = 0
    """The HTTP status that the complaint would have, if the server says so."""


class VoiceProtocol(Protocol):
    """One connection. A sentence is a context, which has a name of its own."""

    def begin(self, context: str, text: str) -> Sequence[str]:
        """The messages that ask for a sentence."""

    def cancel(self, context: str) -> Sequence[str]:
        """The messages that call it off, should it not be over. What still comes of it is left out."""

    def receive(self, data: str | bytes) -> SpeechPiece:
        """What a message says. Raises `ConnectionError` for nonsense."""
