"""The sideband of a call as a socket: the sound, which goes elsewhere, is replaced by silence."""

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
HANG_UP_CODES = (1000, 1001)
"""Close codes of the sideband of a call that is over. [?] No recording shows them."""
PIECE_SECONDS = 0.1
"""Length of a piece of silence."""


class SideSocket:
    """The messages of a call that is heard elsewhere.

    The server says when the sound of a response begins and ends. Between the two, the reader gets silence at the pace
    of the sound, and `played` is called for it, so the reader knows how much of the response was heard.

    Args:
        socket: The sideband.
        played: Called with how much of a response was heard.
    """

    def __init__(self, socket: Socket, played: Callable[[Played], None]) -> None:
        self.over = False
        """The call was hung up."""
        self._socket = socket
        self._played = played
        self._wire = CallWire()
        self._incoming: deque[str | Played] = deque()
        self._start = 0.0  # when the sound of the present response began
        self._samples = 0  # of silence that were sent for it

    async def send(self, data: str | bytes) -> None:
        """Send a message. Sound is not sent."""
        for each in self._wire.send(data if isinstance(data, str) else data.decode()):
            if isinstance(each, str):
                await self._socket.send(each)

    async def receive(self) -> str | bytes:
        """Return the next message. Raises `SocketClosedError`."""
        while True:
            while self._incoming:
                first = self._incoming.popleft()
                if isinstance(first, str):
                    return first
                self._played(first)  # the reader has handled the messages before it by now
            with anyio.move_on_after(PIECE_SECONDS if self._wire.sounding or self._wire.has_unplayed else math.inf):
                try:
                    self._on_message(await self._socket.receive())
                    for request in self._wire.requests():
                        await self._socket.send(request)
                except SocketClosedError as error:
                    self.over = error.code in HANG_UP_CODES
                    raise
                continue
            if self._wire.sounding:
                self._add_silence(self._wire.sounding)
            self._incoming.extend(self._wire.end_soundless(anyio.current_time()))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the sideband. The call continues."""
        await self._socket.close(code, reason)

    def _on_message(self, data: str | bytes) -> None:
        before = self._wire.sounding
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        messages = list(self._wire.receive(text, anyio.current_time()))
        messages += self._wire.end_current() if self._wire.ending else ()
        ended = before and self._wire.sounding != before
        if ended:
            self._add_silence(before)
        self._incoming.extend(messages)
        if ended:
            self._incoming.append(self._report(before, done=True))  # after its end, which may be a cancellation
        if self._wire.sounding != before:
            self._start, self._samples = anyio.current_time(), 0

    def _add_silence(self, response: str) -> None:
        """Add silence up to now."""
        count = round((anyio.current_time() - self._start) * RATE) - self._samples
        if count > 0:
            self._samples += count
            self._incoming.append(self._wire.delta(response, bytes(2 * count)))
            self._incoming.append(self._report(response))

    def _report(self, response: str, *, done: bool = False) -> Played:
        item = self._wire.items.get(response, "")
        return Played(response_id=response, item_id=item, ms=1000 * self._samples / RATE, done=done)
