"""The protocol of one provider, without I/O: the messages for a command, and the events of a message.

A provider is a `Protocol` and a `Profile`. Everything else is shared by all providers: sockets, reconnection, epochs,
interruption, what was heard, tools. One instance serves one connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import ClassVar

from bargein.services.history import Entry
from bargein.services.sockets import Endpoint

from .events import Event
from .profile import Profile
from .settings import Settings

__all__ = ["Message", "Protocol"]

Message = str | bytes
"""One message of a socket: text or binary."""


class Protocol:
    """The protocol of one connection. Commands return the messages to send, in order; `receive` returns events.

    A subclass implements `endpoint`, `open_session`, `receive` and `audio`, and the commands that its profile
    promises. Commands that a profile rules out are never called.
    """

    profile: ClassVar[Profile]
    """What the provider can do."""
    fatal_close_codes: ClassVar[frozenset[int]] = frozenset()
    """Close codes after which retrying cannot succeed, if they come before the session is ready."""

    server_time: float | None = None
    """The server's clock when the connection was made, in seconds since 1970; None if unknown.

    The only use of a date that a server sends is its difference to this. The clock of this machine may be wrong.
    """

    # The session --------------------------------------------------------------------------------------------------

    def resume(self, handle: str) -> None:
        """Take up the session of an earlier connection. Called before anything else.

        Args:
            handle: The handle of that connection's last `Resumable`.
        """
        raise NotImplementedError

    def endpoint(self) -> Endpoint | Awaitable[Endpoint]:
        """Return where to connect to, or an awaitable of it where a token or a session must be fetched first.

        Raises:
            SocketRefusedError: The provider refuses, as connecting may.
        """
        raise NotImplementedError

    def open_session(self, settings: Settings) -> Iterable[Message]:
        """Return the first messages, for the open socket. `SessionReady` follows when they have taken effect.

        Args:
            settings: The settings of the session.
        """
        raise NotImplementedError

    def on_open(self) -> Iterable[Event]:
        """Return the events after `open_session` was sent: `SessionReady`, for a provider that does not confirm it."""
        return ()

    def close_session(self) -> Iterable[Message]:
        """Return the last messages before the connection is closed in order."""
        return ()

    def receive(self, data: Message) -> Iterable[Event]:
        """Return the events of a message. Never raises for what a server may send; yields a `ProtocolFault` instead.

        Args:
            data: A message of the server.
        """
        raise NotImplementedError

    def take_replies(self) -> Iterable[Message]:
        """Return messages that the last `receive` has made necessary. Called after each `receive`."""
        return ()

    def update(self, settings: Settings) -> Iterable[Message]:
        """Change the settings of the session.

        Args:
            settings: All settings of the session, the changed ones among them.
        """
        raise NotImplementedError

    def seed(self, entries: Sequence[Entry]) -> Iterable[Message]:
        """Return the messages that tell the provider an earlier conversation.

        Args:
            entries: Its entries. Those of the user may have pictures (`Entry.available_pictures`), if the profile
                supports images.
        """
        raise NotImplementedError

    # The user's input ---------------------------------------------------------------------------------------------

    def audio(self, pcm: bytes) -> Message | Iterable[Message]:
        """Send more of the user's audio.

        Args:
            pcm: 16-bit little-endian PCM, mono, at the profile's `input_rate`.
        """
        raise NotImplementedError

    @property
    def dropped_ms(self) -> float:
        """How much of the user's audio this protocol had to hold back and dropped for lack of room, in milliseconds."""
        return 0.0

    def speech_started(self) -> Iterable[Message]:
        """Report that a detector of the application hears the user. Called where the provider detects no turns."""
        return ()

    def audio_paused(self) -> Iterable[Message]:
        """Report that the user's source has sent no audio for some time."""
        return ()

    def commit(self) -> Iterable[Message]:
        """Report that the user's turn is over."""
        raise NotImplementedError

    def clear_audio(self) -> Iterable[Message]:
        """Discard the audio that was not committed."""
        raise NotImplementedError

    def text(self, text: str, item_id: str = "") -> Iterable[Message]:
        """Send text that the user wrote.

        Args:
            text: The text.
            item_id: Id of its item; empty for none.
        """
        raise NotImplementedError

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterable[Message]:
        """Send a picture that the user shows.

        Args:
            data: The encoded picture.
            image_format: Its encoding, such as `jpeg`.
            detail: How closely the model should look, in the provider's words; empty for its default.
        """
        raise NotImplementedError

    def tool_result(self, call_id: str, output: str) -> Iterable[Message]:
        """Send the output of a tool.

        Args:
            call_id: Id of the call, as its event named it.
            output: The result, as text or JSON.
        """
        raise NotImplementedError

    def cancel_tool_call(self, call_id: str) -> Iterable[Message]:
        """Report that a call was cancelled by an interrupt and will not be answered, if the provider waits for it.

        Args:
            call_id: Id of the call, as its event named it.
        """
        return ()

    # Responses ----------------------------------------------------------------------------------------------------

    @property
    def request_id(self) -> str | None:
        """Id of the latest request for a response; None if responses do not name the request that they answer."""
        return None

    def respond(self, instructions: str = "") -> Iterable[Message]:
        """Request a response.

        Args:
            instructions: Replace those of the session for this response; empty for those of the session.
        """
        raise NotImplementedError

    def out_of_band(self, name: str, instructions: str) -> Iterable[Message]:
        """Request an answer in text that is not part of the conversation.

        Args:
            name: Name of the question, which `OutOfBandCompleted` repeats.
            instructions: The question.
        """
        raise NotImplementedError

    def say(self, text: str, *, protected: bool = False) -> Iterable[Message]:
        """Request that the model says these words exactly.

        Args:
            text: The words.
            protected: The user's speech does not interrupt them.
        """
        raise NotImplementedError

    def cancel(self, response_id: str) -> Iterable[Message]:
        """Stop a response.

        Args:
            response_id: Id of the response, as its events named it.
        """
        raise NotImplementedError

    def truncate(self, item_id: str, ms: int) -> Iterable[Message]:
        """Cut what the provider remembers of an item to the first milliseconds of its audio.

        Args:
            item_id: Id of the item, as its events named it.
            ms: How much of its audio was heard, in milliseconds.
        """
        raise NotImplementedError

    def delete_item(self, item_id: str) -> Iterable[Message]:
        """Delete an item of which nothing was heard from what the provider remembers.

        Args:
            item_id: Id of the item, as its events named it.
        """
        raise NotImplementedError
