"""One connection with a provider: who reads, who writes, and who watches that something comes."""

from __future__ import annotations

import anyio

from bargein.services.sockets import Socket, SocketClosedError, SocketRefusedError

from ._dialogue import Dialogue
from .policy import ReconnectPolicy
from .profile import Profile
from .protocol import Protocol, Settings

__all__ = ["Connection"]

QUIET_S = 0.1
"""Silence is sent in pieces so long, to who must hear without a break, once nothing has come for twice as long."""

MESSAGES = 4_096
"""So many messages may wait for the provider before it is taken for one that does not read."""
FRAMES = 20_000
"""So many frames may wait for the graph: five minutes of sound in pieces of 20 ms, and more."""


class Connection:
    """A connection, from its opening to its end."""

    def __init__(
        self, socket: Socket, protocol: Protocol, dialogue: Dialogue, policy: ReconnectPolicy, profile: Profile
    ) -> None:
        self._socket = socket
        self._protocol = protocol
        self._dialogue = dialogue
        self._policy = policy
        self._profile = profile
        self._began = dialogue.heard_at = anyio.current_time()
        self._scope = anyio.CancelScope()
        self._ended: tuple[str, bool] | SocketRefusedError = ("", True)

    async def talk(self, settings: Settings) -> tuple[str, bool] | SocketRefusedError:
        """Until it ends. Returns why, and whether that was meant; or the refusal, where it comes only after the first
        words, as HTTP/2 may have it.
        """
        with self._scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read)
                group.start_soon(self._write, settings)
                group.start_soon(self._watch)
                if self._profile.needs_continuous_audio:
                    group.start_soon(self._fill)
        return self._ended

    def _end(self, reason: str, *, clean: bool = False) -> None:
        if not self._scope.cancel_called:
            self._ended = reason, clean
            self._scope.cancel()

    def _closed(self, error: SocketClosedError) -> None:
        if error.code in self._protocol.fatal_close_codes and not self._dialogue.ready:
            self._dialogue.fatal = f"the connection was {error}"
        self._end(str(error))

    async def _read(self) -> None:
        dialogue = self._dialogue
        try:
            while True:
                dialogue.receive(await self._socket.receive())
                if (why := dialogue.fatal or dialogue.broken) is not None:
                    self._end(why)
        except SocketRefusedError as error:
            self._end("")
            self._ended = error
        except SocketClosedError as error:
            self._closed(error)

    async def _write(self, settings: Settings) -> None:
        dialogue, socket = self._dialogue, self._socket
        try:
            for message in self._protocol.open_session(settings):
                await socket.send(message)
            for event in self._protocol.on_open():
                dialogue.handle(event)
            while True:
                while dialogue.outbox:
                    for message in dialogue.outbox.take():
                        await socket.send(message)
                    dialogue.outbox.sent()
                dialogue.resting.set()
                await dialogue.outbox.bell.wait()
        except SocketClosedError as error:
            self._closed(error)

    async def _watch(self) -> None:
        """What does not come, and what must end in time."""
        dialogue, policy = self._dialogue, self._policy
        while True:
            now = anyio.current_time()
            left = dialogue.expires - now
            if not dialogue.ready and now > self._began + policy.ready_seconds:
                self._end(f"no session within {policy.ready_seconds:g} s")
            elif len(dialogue.outbox) > MESSAGES:
                self._end(f"{len(dialogue.outbox)} messages waited for it, and it did not read them")
            elif len(dialogue.give) > FRAMES:
                dialogue.fatal = f"{len(dialogue.give)} frames wait for the graph below, which takes none"
                self._end(dialogue.fatal)
            elif dialogue.silence > policy.silent_seconds:
                self._end(f"silent for {policy.silent_seconds:g} s while an answer was due")
            elif dialogue.ready and (left < 2 or (dialogue.due(policy.renew_seconds) and dialogue.pause)):
                self._end(dialogue.renewal or "the session's time is running out", clean=True)
            await anyio.sleep(max(0.5, min(2.0, left / 4)))

    async def _fill(self) -> None:
        """Silence, where nothing comes and something must."""
        outbox = self._dialogue.outbox
        piece = bytes(2 * int(self._profile.input_rate * QUIET_S))
        while True:
            await anyio.sleep(max(QUIET_S, outbox.heard_until + 2 * QUIET_S - anyio.current_time()))
            if anyio.current_time() >= outbox.heard_until + 2 * QUIET_S - 1e-6:
                outbox.quiet(piece, 1000 * QUIET_S)
