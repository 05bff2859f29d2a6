"""Accepting telephone calls that a vendor brings as a media stream on a WebSocket."""

from __future__ import annotations

import logging

import anyio

from bargein.pipeline.lowlevel import wait_at_most
from bargein.processors import Pacer
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.transports.control import ControlError
from bargein.services.transports.message_socket import SocketTransport
from bargein.services.transports.sessions import RefusedError
from bargein.services.transports.transport import Peer
from bargein.services.transports.websocket.accept import ConnectionRequest, is_authorized

from ._format import MediaStreamFormat, PhoneCall
from ._line import PhoneLine
from .plivo import Plivo
from .telnyx import Telnyx
from .twilio import Twilio

__all__ = ["accept_plivo", "accept_telnyx", "accept_twilio"]

log = logging.getLogger("bargein.sessions")

LEAD_MS = 100.0
"""Sound that is sent to the vendor ahead of time, in milliseconds, because the network jitters. It is played even on a
hold."""


async def accept_twilio(socket: Socket, request: ConnectionRequest) -> SocketTransport:
    """Wait for the start of a call from Twilio and return its transport.

    The caller's sound comes at 8 kHz. Keys come as `Dtmf`. The agent's sound is converted to the line's rate, which
    takes PyAV (extra `audio`). `Played` says what the vendor has confirmed, every 100 ms. `Peer.params` has what is
    known of the call. For a token, have the vendor pass on a parameter named `token`.

    Args:
        socket: The connection.
        request: What is known of the peer.

    Raises:
        RefusedError: No call started within `open_seconds`, or the token is wrong. The socket is closed.
    """
    return await _accept(socket, request, Twilio())


async def accept_telnyx(socket: Socket, request: ConnectionRequest) -> SocketTransport:
    """Wait for the start of a call from Telnyx and return its transport. It works as `accept_twilio` does.

    Args:
        socket: The connection.
        request: What is known of the peer.

    Raises:
        RefusedError: No call started within `open_seconds`, or the token is wrong. The socket is closed.
    """
    return await _accept(socket, request, Telnyx())


async def accept_plivo(socket: Socket, request: ConnectionRequest) -> SocketTransport:
    """Wait for the start of a call from Plivo and return its transport. It works as `accept_twilio` does.

    The caller's sound comes at 8 or 16 kHz, as Plivo was asked to send it.

    Args:
        socket: The connection.
        request: What is known of the peer.

    Raises:
        RefusedError: No call started within `open_seconds`, or the token is wrong. The socket is closed.
    """
    return await _accept(socket, request, Plivo())


async def _accept(socket: Socket, request: ConnectionRequest, stream_format: MediaStreamFormat) -> SocketTransport:
    call: PhoneCall | None = None
    reason = f"no call started within {request.limits.open_seconds:g} s"
    try:

        async def read_start() -> None:
            nonlocal call
            while call is None:
                call = stream_format.decode_start(await socket.receive())

        await wait_at_most(read_start, request.limits.open_seconds)
        if (
            call is not None
            and request.authorize is not None
            and not await is_authorized(request.authorize, call.token)
        ):
            call, reason = None, "its token is wrong"
    except SocketClosedError as error:
        raise RefusedError(f"{request!r} left before its start: {error}") from None
    except ControlError as error:
        call, reason = None, str(error)
    if call is None:
        await socket.close(1008, reason)
        raise RefusedError(f"{request!r} was refused: {reason}")
    peer = Peer(name=request.name, address=request.address, params=request.params | dict(call.params))
    line = PhoneLine(stream_format, call, anyio.current_time)
    # The line reports what was played, since it alone knows the vendor's marks; so the pacer does not.
    pacer = Pacer(lead_ms=LEAD_MS, fade_ms=0, reports=False)
    try:
        return SocketTransport(socket, line, peer, limits=request.limits, pacer=pacer, output=(call.codec.rate, 1))
    except ModuleNotFoundError as error:
        await socket.close(1011, "this agent cannot change the rate of its sound")
        log.error("%s: %s", request.name, error)
        raise RefusedError(f"{request!r} was refused: {error}") from None
