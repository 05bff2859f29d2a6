"""What is to be sent: in order, bounded, and kept while there is no connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import anyio

from bargein.pipeline.lowlevel import Wakeup
from bargein.services.realtime.protocol import Message, Protocol

__all__ = ["MAX_COMMANDS", "SendQueue"]

RECENT_MS: Final = 5000.0
"""How much of the audio that was sent last is sent again when a connection breaks before it had any effect."""

MAX_COMMANDS: Final = 64
"""Maximum number of commands that wait for a connection. Of more, the oldest are dropped."""


class _Command(NamedTuple):
    """A command that waits for a protocol to turn it into messages."""

    make_messages: Callable[[Protocol], Iterable[Message]]
    behind_audio: bool


class _Audio(NamedTuple):
    """Audio that waits for a connection or for the socket."""

    pcm: bytes
    ms: float
    pts: int


class SendQueue:
    """Messages for one provider, over all connections of a conversation.

    Messages belong to one connection and are dropped with it. Audio and commands outlive it.

    Args:
        max_audio_seconds: How much audio may wait, in seconds. Of more, the oldest is dropped and counted.
    """

    def __init__(self, max_audio_seconds: float) -> None:
        self.wakeup = Wakeup()
        """Set when there is something to send."""
        self.connection = 0
        """Number of the connection, from 1."""
        self.protocol: Protocol | None = None
        """The protocol of the present connection; None without one."""
        self.open = False
        """Whether there is a session that can be used."""
        self.audio_until = anyio.current_time()
        """Until when the queued audio lasts, if the provider plays it as it comes."""
        self._dropped_ms = 0.0
        self._max_audio_ms = max_audio_seconds * 1000
        self._waiting_ms = 0.0
        self._queue: deque[Message | _Audio | _Command] = deque()
        self._taken: _Audio | None = None  # is being sent
        self._recent: deque[_Audio] = deque()  # was sent, and has had no effect yet
        self._recent_ms = 0.0
        self._origin: int | None = None  # pts of the first audio sent on this connection

    def __bool__(self) -> bool:
        return self.open and bool(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def dropped_ms(self) -> float:
        """How much audio was dropped because it could not be sent in time, in milliseconds."""
        return self._dropped_ms + (self.protocol.dropped_ms if self.protocol is not None else 0.0)

    # Connections --------------------------------------------------------------------------------------------------

    def connect(self, protocol: Protocol) -> None:
        """Begin a new connection, whose session is not ready yet."""
        self.protocol, self.open = protocol, False
        self.connection += 1
        self._origin = None

    def disconnect(self) -> None:
        """Drop the connection and the messages that were meant for it. Audio and commands are kept."""
        # The property includes what the protocol has dropped, which is about to be forgotten.
        self._dropped_ms = self.dropped_ms
        self.protocol, self.open = None, False
        kept = [each for each in self._queue if isinstance(each, _Audio | _Command)]
        self._queue.clear()
        # In the order in which the audio was recorded: sent without effect, being sent, still waiting.
        again = [*self._recent, *([self._taken] if self._taken is not None else [])]
        self._waiting_ms += sum(each.ms for each in again)
        self._queue.extend((*again, *kept))
        # What was sent waits in the queue again, so it must not be kept here as well.
        self.acknowledge()
        self._taken = None

    def begin(self, first: Iterable[Message]) -> None:
        """Open the queue, because the session is ready.

        Args:
            first: Messages to send before everything that has waited.
        """
        waiting = list(self._queue)
        self._queue.clear()
        self._queue.extend(first)
        for each in waiting:
            if isinstance(each, _Command) and not each.behind_audio:  # its messages go before those of later commands
                self._queue.extend(self._make_messages(each))
            else:
                self._queue.append(each)
        self.open = True
        self.wakeup.set()

    # Adding -------------------------------------------------------------------------------------------------------

    def post(self, messages: Iterable[Message]) -> None:
        """Send messages of this connection."""
        self._queue.extend(messages)
        self.wakeup.set()

    def command(self, make_messages: Callable[[Protocol], Iterable[Message]], *, behind_audio: bool = False) -> None:
        """Send a command now, or when there is a session.

        Args:
            make_messages: Returns the messages of the command in a protocol.
            behind_audio: Call it only when all audio that waits has been sent, because its messages depend on that.
        """
        # A commit in front of its audio would end an empty turn.
        if self.open and self.protocol is not None and not (behind_audio and self._waiting_ms):
            self.post(make_messages(self.protocol))
            return
        self._queue.append(_Command(make_messages, behind_audio))
        self.wakeup.set()
        # Counted only here, as commands rarely wait. Audio has its own bound, and messages end with their connection.
        if sum(isinstance(each, _Command) for each in self._queue) > MAX_COMMANDS:
            self._queue.remove(next(each for each in self._queue if isinstance(each, _Command)))

    def add_audio(self, pcm: bytes, ms: float, pts: int) -> None:
        """Send the user's audio. If too much of it waits, the oldest is dropped and counted.

        Args:
            pcm: 16-bit little-endian PCM, mono, at the rate of the provider.
            ms: Its length in milliseconds.
            pts: Its media time in nanoseconds.
        """
        self._queue.append(_Audio(pcm, ms, pts))
        self._waiting_ms += ms
        self.audio_until = max(self.audio_until, anyio.current_time()) + ms / 1000
        # Audio that is being sent (`_taken`) no longer counts, so this never removes it.
        while self._waiting_ms > self._max_audio_ms:
            oldest = next(each for each in self._queue if isinstance(each, _Audio))
            self._queue.remove(oldest)
            self._waiting_ms -= oldest.ms
            self._dropped_ms += oldest.ms
        self.wakeup.set()

    def add_silence(self, pcm: bytes, ms: float) -> None:
        """Send silence where there was no audio, unless something waits to be sent already."""
        # After the event loop stood still, the gap is not filled with a burst of old silence.
        self.audio_until = max(self.audio_until, anyio.current_time() - 2 * ms / 1000) + ms / 1000
        if self.open and self.protocol is not None and not self._queue:
            self.post(_as_messages(self.protocol.audio(pcm)))

    # Sending ------------------------------------------------------------------------------------------------------

    def take(self) -> Iterable[Message]:
        """Return the messages to send next; none when nothing waits. Call `on_sent` once they are sent."""
        if not self or self.protocol is None:
            return ()
        first = self._queue.popleft()
        self._taken = first if isinstance(first, _Audio) else None
        if isinstance(first, _Command):
            return self._make_messages(first)
        if isinstance(first, _Audio):
            self._waiting_ms -= first.ms
            # Providers count the milliseconds of an event from the first audio of the connection.
            if self._origin is None:
                self._origin = first.pts
            return _as_messages(self.protocol.audio(first.pcm))
        return (first,)

    def on_sent(self) -> None:
        """Note that what was taken has been sent."""
        if self._taken is not None:
            self._recent.append(self._taken)
            self._recent_ms += self._taken.ms
            self._taken = None
            while self._recent_ms > RECENT_MS:
                self._recent_ms -= self._recent.popleft().ms

    @property
    def has_unacknowledged(self) -> bool:
        """Whether audio was sent that has had no effect yet."""
        return bool(self._recent)

    def acknowledge(self) -> None:
        """Note that the audio has had an effect. It is not sent again if the connection breaks."""
        self._recent.clear()
        self._recent_ms = 0.0

    def pts(self, ms: float) -> int:
        """Return the media time of a position in the audio that was sent on this connection, in nanoseconds."""
        return (self._origin or 0) + round(ms * 1e6)

    def _make_messages(self, command: _Command) -> Iterable[Message]:
        assert self.protocol is not None
        return command.make_messages(self.protocol)


def _as_messages(messages: Message | Iterable[Message]) -> Iterable[Message]:
    return (messages,) if isinstance(messages, str | bytes) else messages
