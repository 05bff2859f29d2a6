"""Calls that come as a vendor's media stream."""

from __future__ import annotations

import logging

import anyio

from bargein.processors import Pacer
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.transports._socket_transport import SocketTransport
from bargein.services.transports.control import ControlError
from bargein.services.transports.sessions import RefusedError
from bargein.services.transports.transport import Peer
from bargein.services.transports.websocket.server import ConnectionRequest, allowed

from ._line import MediaStreamFormat, PhoneCall, PhoneLine
from .plivo import Plivo
from .telnyx import Telnyx
from .twilio import Twilio

__all__ = ["accept_plivo", "accept_telnyx", "accept_twilio"]

log = logging.getLogger("bargein.sessions")

LEAD_MS = 100.0
"""So much sound is with the vendor, against the jitter of the network. A clear empties it; on a hold it is played."""


async def accept_twilio(socket: Socket, visit: ConnectionRequest) -> SocketTransport:
    """The transport of a call that comes from Twilio: see `accept`."""
    return await accept(socket, visit, Twilio())


async def accept_telnyx(socket: Socket, visit: ConnectionRequest) -> SocketTransport:
    """The transport of a call that comes from Telnyx: see `accept`."""
    return await accept(socket, visit, Telnyx())


async def accept_plivo(socket: Socket, visit: ConnectionRequest) -> SocketTransport:
    """The transport of a call that comes from Plivo: see `accept`."""
    return await accept(socket, visit, Plivo())


async def accept(socket: Socket, visit: ConnectionRequest, dialect: MediaStreamFormat) -> SocketTransport:
    """The transport of a call whose stream starts within `open_seconds`.

    The caller's sound comes at the line's rate (`Resample` it as you need), keys as `Dtmf`. The agent's is converted
    (which takes PyAV, extra `audio`); `Played` says what the vendor has confirmed, every 100 ms. What is known of the
    call is in `Peer.wishes`. A token is a parameter of that name, which the application has the vendor pass on.

    Raises `RefusedError` when something else comes, or the token will not do; the socket is closed.
    """
    call: PhoneCall | None = None
    said = f"it said nothing of a call for {visit.limits.open_seconds:g} s"
    try:
        with anyio.move_on_after(visit.limits.open_seconds):
            while call is None:
                call = dialect.opened(await socket.receive())
        if call is not None and visit.authorize is not None and not await allowed(visit.authorize, call.token):
            call, said = None, "its token will not do"
    except SocketClosedError as error:
        raise RefusedError(f"{visit!r} left before it had started: {error}") from None
    except ControlError as error:
        call, said = None, str(error)
    if call is None:
        await socket.close(1008, said)
        raise RefusedError(f"{visit!r} was refused: {said}")
    peer = Peer(name=visit.name, address=visit.address, params=visit.wishes | dict(call.wishes))
    line = PhoneLine(dialect, call, anyio.current_time)
    pacer = Pacer(lead_ms=LEAD_MS, fade_ms=0, reports=False)
    try:
        return SocketTransport(socket, line, peer, limits=visit.limits, pacer=pacer, output=(call.codec.rate, 1))
    except ModuleNotFoundError as error:
        await socket.close(1011, "this agent cannot change the rate of its sound")
        log.error("%s: %s", visit.name, error)
        raise RefusedError(f"{visit!r} was refused: {error}") from None
