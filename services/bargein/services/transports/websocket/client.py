"""The user's end of a WebSocket, for programs and for agents that talk to agents::

async with connect_websocket("ws://127.0.0.1:8080/") as agent:
    await agent.send(UserText(text="Hello"))
    async for frame in agent: ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import LIVE, Audio, Frame, Image, Interrupt, UserText
from bargein.processors import Commit
from bargein.services import sockets
from bargein.services.sockets import Endpoint, Socket, SocketClosedError
from bargein.services.transports import control
from bargein.services.transports._socket_transport import Came, Message, SocketTransport
from bargein.services.transports.control import ControlError, Finish, Ready, Start
from bargein.services.transports.sessions import RefusedError, SessionLimits
from bargein.services.transports.transport import Peer

from ._wire import UserWire

__all__ = ["WebSocketClient", "connect_websocket"]

PIECE_MS = 20


class WebSocketClient(SocketTransport):
    """The user's end of a WebSocket. For programs: `send` what the user says and does, and iterate over what comes.

    Iterating gives the agent's `Audio`, each with the epoch it was sent for, and never one that has expired; and what
    the agent told: `Transcript`, `Text`, `ResponseStarted`, `Interrupt` (drop what you have not played),
    `TurnLatency`, `Failure` and so on, as frames. It ends with the session; `ended` says why.

    It is a `Transport`, too, the other way round: its source gives the agent's sound, and its sink sends sound, so
    that a second agent may talk to the first. Use it as the one or the other.
    """

    def __init__(self, socket: Socket, peer: Peer, ready: Ready, *, limits: SessionLimits | None = None) -> None:
        super().__init__(socket, UserWire(), peer, limits=limits)
        self.ready = ready
        """What the agent said first."""
        self.ended = ""
        """Why the session is over, once it is."""
        self._came: deque[Frame] = deque()

    @classmethod
    async def begin(
        cls, socket: Socket, start: Start | None = None, *, address: str = "", limits: SessionLimits | None = None
    ) -> Self:
        """Say `start` on a socket that is open, and wait for `ready`. Raises `RefusedError`."""
        limits = limits or SessionLimits()
        ready = await _begin(socket, start or Start(), limits.open_seconds)
        return cls(socket, Peer(name="agent", address=address), ready, limits=limits)

    async def send(self, frame: Audio | UserText | Image | Commit | Interrupt) -> None:
        """What the user says or does. Sound should come in pieces of about 20 ms, when they are spoken.

        Raises `SocketClosedError` when the session is over, and `ValueError` for a picture that is not encoded.
        """
        if isinstance(frame, Audio):
            for data in self._wire.sound(frame):
                await self._socket.send(data)
        else:
            await self._socket.send(control.said(frame))

    async def speak(self, samples: npt.NDArray[np.int16], rate: int) -> None:
        """Send samples (`int16`, shape `(n,)` or `(n, channels)`) at the pace at which they are spoken."""
        began, step = anyio.current_time(), max(1, rate * PIECE_MS // 1000)
        for at in range(0, len(samples), step):
            piece = samples[at : at + step]
            await anyio.sleep_until(began + (at + len(piece)) / rate)  # it has been spoken when its last sample has
            await self.send(Audio(samples=piece, rate=rate))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while not self._came:
            if self.ended:
                raise StopAsyncIteration
            try:
                self._understand(await self._socket.receive())
            except SocketClosedError as error:
                self.ended = f"the connection was {error}"
        return self._came.popleft()

    def _understand(self, data: Message) -> None:
        with suppress(ControlError):  # from an agent that knows more than we do
            for each in self._wire.received(data):
                if isinstance(each, Finish):
                    self.ended = each.reason or "the agent said goodbye"
                elif isinstance(each, Frame):
                    self._came.append(each)

    def _admits(self, frame: Frame) -> Came | None:
        return frame.stamped(LIVE) if isinstance(frame, Audio) else None


@asynccontextmanager
async def connect_websocket(
    url: str,
    *,
    token: str = "",
    rate: int = 16_000,
    channels: int = 1,
    output_rate: int = 0,
    wishes: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: Any = None,
    limits: SessionLimits | None = None,
) -> AsyncIterator[WebSocketClient]:
    """Talk to an agent while the block runs, on asyncio or trio.

    `output_rate`: at how many samples a second its sound should come; 0 for its own. `token` goes into the header
    and into `start`. `wishes`: for whoever builds the session.

    Raises `SocketRefusedError` when there is no such server or it refuses, and `RefusedError` when the agent does.
    """
    bearing = {"Authorization": f"Bearer {token}"} if token else {}
    endpoint = Endpoint(url=url, headers=bearing | dict(headers or {}), ssl=ssl)
    async with sockets.dial(endpoint) as socket:
        start = Start(rate=rate, channels=channels, output_rate=output_rate, token=token, wishes=dict(wishes or {}))
        client = await WebSocketClient.begin(socket, start, address=url, limits=limits)
        yield client
        with anyio.move_on_after(1), suppress(SocketClosedError):
            await socket.send(control.ending("done"))


async def _begin(socket: Socket, start: Start, seconds: float) -> Ready:
    said = f"it said nothing for {seconds:g} s"
    try:
        with anyio.move_on_after(seconds):
            await socket.send(control.start(start))
            for message in UserWire().received(await socket.receive()):
                if isinstance(message, Ready):
                    return message
                said = getattr(message, "message", "") or getattr(message, "reason", "") or repr(message)
    except (SocketClosedError, ControlError) as error:
        said = str(error)
    raise RefusedError(f"the agent refuses: {said}")
