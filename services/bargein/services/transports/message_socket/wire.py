"""`Wire`: the messages that one kind of peer exchanges on its socket. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from bargein.pipeline import Audio, Delivery, Frame, Image, Interrupt, Played, UserText
from bargein.processors import Commit
from bargein.services.transports.control import ControlError, Finish, Ready
from bargein.services.transports.frames import Dtmf, PeerJoined, PeerLeft

__all__ = ["Marked", "Message", "UserFrame", "Wire"]

Message = str | bytes
"""One message of a socket."""


class Marked(Frame, frozen=True, kw_only=True):
    """The peer has played its sound up to a mark. It goes from the source to the sink, which made the mark."""

    delivery: ClassVar[Delivery] = Delivery.EVENT

    mark: str
    """The name of the mark."""


UserFrame = PeerJoined | Audio | Image | UserText | Commit | Interrupt | Dtmf | Marked | PeerLeft
"""The frames that the source of a socket transport sends."""


class Wire(Protocol):
    """The messages of one kind of peer. A wire does no I/O."""

    def decode(self, data: Message) -> Iterable[Frame | Finish | Ready]:
        """Return what a message means.

        Args:
            data: A message of the peer.

        Raises:
            ControlError: The message cannot be understood. Nothing else is raised.
        """

    def encode_audio(self, frame: Audio) -> Iterable[Message]:
        """Return the messages that carry this sound. They are sent at once.

        Args:
            frame: The agent's sound.
        """

    def skip_audio(self, frame: Audio) -> None:
        """Note sound that is never sent, because the peer does not keep up.

        Args:
            frame: The agent's sound.
        """

    def encode_event(self, frame: Frame) -> Iterable[Message]:
        """Return the messages for any other frame; nothing for a frame that has none.

        It is called when the sound before the frame has been sent; for urgent frames at once.

        Args:
            frame: A frame that is not sound.
        """

    def report_played(self, frame: Frame) -> Iterable[Played]:
        """Return how much sound the peer has confirmed as played. Called with every frame, after its messages.

        Args:
            frame: The frame that was sent last.
        """

    def encode_error(self, error: ControlError) -> Message | None:
        """Return the answer to a message that cannot be understood; None for no answer.

        Args:
            error: What is wrong with the message.
        """

    def encode_end(self, reason: str) -> Message | None:
        """Return the last message; None where the end of the connection says enough.

        Args:
            reason: Why the session is over.
        """
