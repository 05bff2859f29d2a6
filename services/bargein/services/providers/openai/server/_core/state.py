"""What the parts of one served session share: the session object, its items, and what is to be sent to either side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from bargein.pipeline import Frame

from .audio import UserAudio
from .items import ServerConversation
from .pending import PendingItems

__all__ = ["Event", "SessionState"]

Event = dict[str, Any]
"""A server's event as a dictionary. `bytes` in it become base64 on the wire."""


class SessionState:
    """The state of one served session.

    Args:
        session: The session object.
        audio: The user's sound.
        new_id: Makes an id of a kind, such as `item`.
        lenient: Fields that the GA interface does not know are accepted.
        detects_speech: This server finds the user's speech; False where the brain does.
    """

    def __init__(
        self,
        session: dict[str, Any],
        audio: UserAudio,
        *,
        new_id: Callable[[str], str],
        lenient: bool,
        detects_speech: bool,
    ) -> None:
        self.session = session
        self.audio = audio
        self.new_id = new_id
        self.lenient = lenient
        self.detects_speech = detects_speech
        self.conversation_id = new_id("conv")
        self.conversation = ServerConversation()
        self.pending = PendingItems()
        """Items that were not sent to the brain yet."""
        self.events: deque[Event] = deque()
        """For the client, in order."""
        self.frames: deque[Frame] = deque()
        """For the brain, in order."""

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """The session's turn detection; None for push to talk."""
        found: dict[str, Any] | None = self.session["audio"]["input"]["turn_detection"]
        return found

    @property
    def voice(self) -> str | dict[str, Any]:
        """The session's voice: a name, or an object with an id."""
        found: str | dict[str, Any] = self.session["audio"]["output"]["voice"]
        return found

    def send(self, type: str, **fields: Any) -> None:
        """Add an event for the client."""
        self.events.append({"type": type, "event_id": self.new_id("event"), **fields})
