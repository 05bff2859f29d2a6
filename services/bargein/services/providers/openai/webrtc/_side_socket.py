"""The sideband of a call, whose sound goes elsewhere: a socket for the driver, with silence in its place."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import anyio

from bargein.pipeline import Played
from bargein.services.sockets import Socket, SocketClosedError

from ._call_wire import CallWire

__all__ = ["SideSocket"]

RATE = 24_000
HUNG_UP = (1000, 1001)
"""How the server closes the sideband of a call that is over. [?] No recording shows it."""
TICK = 0.1
"""Seconds of silence in a piece."""


class SideSocket:
    """Messages of a call that is heard elsewhere.

    The server says when a response begins to sound and when it ends. For as long, the driver gets silence, at the pace
    of the sound, and is told at once that it was played: so it knows how much of the answer was heard.
    """

    def __init__(self, socket: Socket, played: Callable[[Played], None]) -> None:
        self.over = False
        """The call was hung up."""
        self._socket = socket
        self._played = played
        self._wire = CallWire()
        self._came: deque[str | Played] = deque()
        self._since = 0.0  # when the present response began to sound
        self._given = 0  # samples of silence for it

    async def send(self, data: str | bytes) -> None:
        """Send a message; sound is not sent."""
        for each in self._wire.send(data if isinstance(data, str) else data.decode()):
            if isinstance(each, str):
                await self._socket.send(each)

    async def receive(self) -> str | bytes:
        """The next message."""
        while True:
            while self._came:
                first = self._came.popleft()
                if isinstance(first, str):
                    return first
                self._played(first)  # whoever got what came before has dealt with it by now
            with anyio.move_on_after(TICK if self._wire.sounding or self._wire.held else math.inf):
                try:
                    self._take(await self._socket.receive())
                except SocketClosedError as error:
                    self.over = error.code in HUNG_UP
                    raise
                continue
            if self._wire.sounding:
                self._quiet(self._wire.sounding)
            self._came.extend(self._wire.due(anyio.current_time()))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Leave the call to the others."""
        await self._socket.close(code, reason)

    def _take(self, data: str | bytes) -> None:
        before = self._wire.sounding
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        made = list(self._wire.receive(text, anyio.current_time()))
        made += self._wire.ended() if self._wire.ending else ()
        over = before and self._wire.sounding != before
        if over:
            self._quiet(before)
        self._came.extend(made)
        if over:
            self._came.append(self._report(before, done=True))  # behind its end, which may be a cut
        if self._wire.sounding != before:
            self._since, self._given = anyio.current_time(), 0

    def _quiet(self, response: str) -> None:
        """Silence up to now."""
        count = round((anyio.current_time() - self._since) * RATE) - self._given
        if count > 0:
            self._given += count
            self._came.append(self._wire.delta(response, bytes(2 * count)))
            self._came.append(self._report(response))

    def _report(self, response: str, *, done: bool = False) -> Played:
        item = self._wire.items.get(response, "")
        return Played(response_id=response, item_id=item, ms=1000 * self._given / RATE, done=done)
