"""The user's end of a WebSocket, for programs and for agents that talk to agents::

async with connect_websocket("ws://127.0.0.1:8080/") as agent:
    await agent.send(UserText(text="Hello"))
    async for frame in agent: ...
"""

from __future__ import annotations

import ssl as tls
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Self

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import LIVE, Audio, Failure, Frame, Image, Interrupt, UserText
from bargein.pipeline.lowlevel import check_options
from bargein.processors import Commit
from bargein.services import sockets
from bargein.services.sockets import Endpoint, Socket, SocketClosedError
from bargein.services.transports import control
from bargein.services.transports.control import ControlError, Finish, Ready, Start
from bargein.services.transports.message_socket import Message, SocketTransport, UserFrame
from bargein.services.transports.sessions import RefusedError, SessionLimits
from bargein.services.transports.transport import Peer

from ._wire import UserWire

__all__ = ["WebSocketClient", "connect_websocket"]

PIECE_MS = 20
"""Length of the pieces in which `speak` sends sound."""


class WebSocketClient(SocketTransport):
    """The user's end of a WebSocket: `send` what the user says and does, and iterate over what the agent sends.

    Iterating yields the agent's `Audio`, each piece with its epoch and never a stale one, and the agent's messages as
    frames: `Transcript`, `Text`, `ResponseStarted`, `Interrupt` (drop what you have not played), `TurnLatency`,
    `Failure` and so on. The iteration ends with the session; then `ended` says why.

    It is a `Transport` too, in the other direction: its source emits the agent's sound and its sink sends sound, so
    that a second agent may talk to the first. Use one object as the one or the other, not both.

    Args:
        socket: A connection on which `start` has been sent and `ready` has come; `begin` does both.
        peer: The agent.
        ready: The agent's first message.
        limits: The limits of the agent.
    """

    @check_options
    def __init__(self, socket: Socket, peer: Peer, ready: Ready, *, limits: SessionLimits | None = None) -> None:
        super().__init__(socket, UserWire(), peer, limits=limits)
        self.ready = ready
        """The agent's first message."""
        self.ended = ""
        """Why the session is over; an empty string until it is."""
        self._received_frames: deque[Frame] = deque()

    @classmethod
    async def begin(
        cls, socket: Socket, start: Start | None = None, *, address: str = "", limits: SessionLimits | None = None
    ) -> Self:
        """Send `start` on an open socket, wait for `ready`, and return the client.

        Args:
            socket: The open socket.
            start: The first message. Default: `Start()`.
            address: The server's address, for logs. Default: empty.
            limits: The limits of the server. Default: `SessionLimits()`.

        Raises:
            RefusedError: The agent refuses, or does not answer within `open_seconds`.
        """
        limits = limits or SessionLimits()
        ready = await _exchange_start(socket, start or Start(), limits.open_seconds)
        return cls(socket, Peer(name="agent", address=address), ready, limits=limits)

    async def send(self, frame: Audio | UserText | Image | Commit | Interrupt) -> None:
        """Send what the user says or does. Send sound in pieces of about 20 ms, when they are spoken.

        Args:
            frame: The frame.

        Raises:
            SocketClosedError: The session is over.
            ValueError: The frame is a picture of raw pixels; encode it first.
        """
        if isinstance(frame, Audio):
            for data in self._wire.encode_audio(frame):
                await self._socket.send(data)
        else:
            await self._socket.send(control.encode_user_message(frame))

    async def speak(self, samples: npt.NDArray[np.int16], rate: int) -> None:
        """Send samples at the pace at which they are spoken.

        Args:
            samples: Sound of shape `(n,)` or `(n, channels)`.
            rate: Its rate in samples a second (Hz).
        """
        began, step = anyio.current_time(), max(1, rate * PIECE_MS // 1000)
        for at in range(0, len(samples), step):
            piece = samples[at : at + step]
            await anyio.sleep_until(began + (at + len(piece)) / rate)  # a piece is spoken when its last sample is
            await self.send(Audio(samples=piece, rate=rate))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while not self._received_frames:
            if self.ended:
                raise StopAsyncIteration
            try:
                self._decode(await self._socket.receive())
            except SocketClosedError as error:
                self.ended = f"the connection was {error}"
        return self._received_frames.popleft()

    def _decode(self, data: Message) -> None:
        with suppress(ControlError):  # a newer agent may send messages that this version does not know
            for each in self._wire.decode(data):
                if isinstance(each, Finish):
                    self.ended = each.reason or "the agent said goodbye"
                elif isinstance(each, Frame):
                    self._received_frames.append(each)

    def _filter(self, frame: Frame) -> UserFrame | None:
        return frame.stamped(LIVE) if isinstance(frame, Audio) else None


@asynccontextmanager
async def connect_websocket(
    url: str,
    *,
    token: str = "",
    rate: int = 16_000,
    channels: int = 1,
    output_rate: int = 0,
    params: Mapping[str, str] | None = None,
    resume: str = "",
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    limits: SessionLimits | None = None,
) -> AsyncIterator[WebSocketClient]:
    """Talk to an agent while the block runs, on asyncio or trio.

    Args:
        url: The agent's URL, `ws://` or `wss://`.
        token: Sent as a bearer token and in `start`.
        rate: The rate of the sound that will be sent, in samples a second (Hz).
        channels: The number of its channels.
        output_rate: The rate of the agent's sound that is wanted; 0 for the agent's own.
        params: Parameters for the code that builds the session: its `Peer.params`.
        resume: The `ready.resume` of an earlier client whose connection was lost, to go on with its conversation.
        headers: More HTTP headers.
        ssl: The TLS context for `wss`; None for the default one.
        limits: The limits of the agent.

    Raises:
        SocketRefusedError: No server answers there, or it refuses.
        RefusedError: The agent refuses.
    """
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    endpoint = Endpoint(url=url, headers=authorization | dict(headers or {}), ssl=ssl)
    async with sockets.dial(endpoint) as socket:
        start = Start(
            rate=rate,
            channels=channels,
            output_rate=output_rate,
            token=token,
            resume=resume,
            params=dict(params or {}),
        )
        client = await WebSocketClient.begin(socket, start, address=url, limits=limits)
        yield client
        with anyio.move_on_after(1), suppress(SocketClosedError):
            await socket.send(control.encode_end("done"))


async def _exchange_start(socket: Socket, start: Start, seconds: float) -> Ready:
    reason = f"it said nothing for {seconds:g} s"
    try:
        with anyio.move_on_after(seconds):
            await socket.send(control.encode_start(start))
            for message in UserWire().decode(await socket.receive()):
                if isinstance(message, Ready):
                    return message
                reason = _reason_of(message)
    except (SocketClosedError, ControlError) as error:
        reason = str(error)
    raise RefusedError(f"the agent refuses: {reason}")


def _reason_of(message: Frame | Finish) -> str:
    """Return what an agent says in place of `ready`."""
    if isinstance(message, Failure):
        return message.message
    if isinstance(message, Finish) and message.reason:
        return message.reason
    return repr(message)
