"""One connection with a provider: reading, writing, and watching that what is due comes."""

from __future__ import annotations

from typing import Final, NamedTuple

import anyio

from bargein.pipeline.lowlevel import catch_up
from bargein.services.sockets import Socket, SocketClosedError, SocketRefusedError, server_time

from ._dialogue import Dialogue
from .policy import ReconnectPolicy
from .profile import Profile
from .protocol import Protocol

__all__ = ["Connection", "Ending"]

SILENCE_SECONDS: Final = 0.1
"""Length of a piece of silence, in seconds. A provider that needs continuous audio gets silence once nothing has come
for twice as long."""

MAX_MESSAGES: Final = 4_096
"""If more messages than this wait to be sent, the provider does not read them."""

MAX_FRAMES: Final = 20_000
"""If more frames than this wait for the graph, it does not take them. Five minutes of audio in pieces of 20 ms are
15,000 frames."""

LEAVE_SECONDS: Final = 2.0
"""How long before its limit a session is left even if the conversation does not pause, in seconds."""


class Ending(NamedTuple):
    """Why a connection has ended."""

    reason: str
    """Why the connection has ended, in a sentence."""
    clean: bool
    """Whether it ended on purpose, such as at the end of a session's time."""
    refusal: SocketRefusedError | None = None
    """The provider's refusal, if it came only after the first messages, as is possible with HTTP/2."""

    def raise_refusal(self) -> None:
        """Raise the refusal, if there is one."""
        if self.refusal is not None:
            raise self.refusal


class Connection:
    """A connection, from its opening to its end.

    Args:
        socket: The open socket.
        protocol: The protocol of this connection.
        dialogue: The conversation.
        policy: Time limits.
        profile: What the provider can do.
    """

    def __init__(
        self, socket: Socket, protocol: Protocol, dialogue: Dialogue, policy: ReconnectPolicy, profile: Profile
    ) -> None:
        self._socket = socket
        self._protocol = protocol
        self._dialogue = dialogue
        self._policy = policy
        self._profile = profile
        protocol.server_time = server_time(socket)
        # The silence of an earlier connection must not count against this one.
        self._began = dialogue.received_at = anyio.current_time()
        self._scope = anyio.CancelScope()
        self._ending = Ending("", True)

    async def run(self) -> Ending:
        """Run until the connection ends.

        Returns:
            Why it ended. A refusal is returned and not raised, so that it does not pass through the context manager
            that has opened the socket, which may wrap it into a group.
        """
        with self._scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read)
                group.start_soon(self._write)
                group.start_soon(self._watch)
                if self._profile.needs_continuous_audio:
                    group.start_soon(self._fill_gaps)
        return self._ending

    def _end(self, reason: str, *, clean: bool = False) -> None:
        # The first reason counts. What the other tasks report afterwards are its consequences.
        if not self._scope.cancel_called:
            self._ending = Ending(reason, clean)
            self._scope.cancel()

    def _on_closed(self, error: SocketClosedError) -> None:
        # With a session, the same code may mean a condition that passes, such as a limit of its time.
        if error.code in self._protocol.fatal_close_codes and not self._dialogue.ready:
            self._dialogue.fatal = f"the connection was {error}"
        self._end(str(error))

    async def _read(self) -> None:
        dialogue = self._dialogue
        try:
            while True:
                dialogue.receive(await self._socket.receive())
                if (reason := dialogue.fatal or dialogue.broken) is not None:
                    self._end(reason)
        except SocketRefusedError as error:
            # Kept apart from `_end`, because the status of a refusal decides whether another attempt makes sense.
            self._end("")
            self._ending = Ending("", False, error)
        except SocketClosedError as error:
            self._on_closed(error)

    async def _write(self) -> None:
        dialogue, queue = self._dialogue, self._dialogue.send_queue
        try:
            # Past the queue, which opens only when the provider says that the session is ready.
            for message in dialogue.open_session():
                await self._socket.send(message)
            for event in self._protocol.on_open():
                dialogue.handle(event)
            while True:
                while queue:
                    for message in queue.take():
                        await self._socket.send(message)
                    # Only now: audio that was taken and not sent belongs to the next connection.
                    queue.on_sent()
                dialogue.progress.set()
                await queue.wakeup.wait()
        except SocketClosedError as error:
            self._on_closed(error)

    async def _watch(self) -> None:
        """End the connection when something does not come in time, or when the session's time runs out."""
        dialogue, policy = self._dialogue, self._policy
        while True:
            now = anyio.current_time()
            left = dialogue.expires_at - now
            if not dialogue.ready and now > self._began + policy.ready_seconds:
                self._end(f"no session within {policy.ready_seconds:g} s")
            elif len(dialogue.send_queue) > MAX_MESSAGES:
                self._end(f"{len(dialogue.send_queue)} messages waited for it, and it did not read them")
            elif len(dialogue.output) > MAX_FRAMES:
                dialogue.fatal = f"{len(dialogue.output)} frames wait for the graph below, which takes none"
                self._end(dialogue.fatal)
            elif dialogue.silent_seconds > policy.silent_seconds:
                self._end(f"silent for {policy.silent_seconds:g} s while an answer was due")
            elif dialogue.ready and (
                left < LEAVE_SECONDS or (dialogue.needs_renewal(policy.renew_seconds) and dialogue.paused)
            ):
                self._end(dialogue.renew_reason or "the session's time is running out", clean=True)
            # Looked at from time to time: a dozen things move these deadlines, and the limits are seconds. Before the
            # end of the session it looks more often.
            pause = max(0.5, min(2.0, left / 4))
            await anyio.sleep(pause)
            await catch_up(now + pause, policy.ready_seconds)  # the provider's messages may wait

    async def _fill_gaps(self) -> None:
        """Send silence where the user's source sends nothing."""
        queue = self._dialogue.send_queue
        silence = bytes(2 * int(self._profile.input_rate * SILENCE_SECONDS))
        while True:
            await anyio.sleep(max(SILENCE_SECONDS, queue.audio_until + 2 * SILENCE_SECONDS - anyio.current_time()))
            # Audio may have come during the sleep. The tolerance is for clocks whose sums are not exact.
            if anyio.current_time() >= queue.audio_until + 2 * SILENCE_SECONDS - 1e-6:
                queue.add_silence(silence, 1000 * SILENCE_SECONDS)
