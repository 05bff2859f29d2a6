"""Accepting one peer on a socket: its first message, its token, and its session."""

from __future__ import annotations

import inspect
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import anyio

from bargein.pipeline.lowlevel import check_options, wait_at_most
from bargein.services.sockets import Socket, SocketClosedError
from bargein.services.transports import control
from bargein.services.transports.control import ControlError, Start
from bargein.services.transports.message_socket import Message, SocketTransport
from bargein.services.transports.sessions import Ending, RefusedError, SessionLimits, Sessions, address_key
from bargein.services.transports.transport import Peer

from ._wire import MAX_CHANNELS, RATES, AgentWire

__all__ = [
    "Accept",
    "Authorize",
    "ConnectionRequest",
    "accept_websocket",
    "is_authorized",
    "limit_waiting",
    "serve_websocket_peer",
]

log = logging.getLogger("bargein.sessions")

Authorize = Callable[[str], bool | Awaitable[bool]]
"""A function, sync or async, that decides by a token ("" for none) whether a peer may connect."""
_numbers = itertools.count(1)


class ConnectionRequest:
    """A request to open a connection: what is known of a peer before its first message.

    Args:
        name: The name that the peer gets; by default `websocket-` and a number.
        address: Its network address.
        path: The path of the URL that it connected to.
        params: The query parameters of that URL.
        limits: The limits of the peer.
        authorize: Decides by the token of the first message whether the peer may connect. None allows every peer, and
            is right where a header has been checked already.
    """

    @check_options
    def __init__(
        self,
        *,
        name: str = "",
        address: str = "",
        path: str = "/",
        params: Mapping[str, str] | None = None,
        limits: SessionLimits | None = None,
        authorize: Authorize | None = None,
    ) -> None:
        self.name = name or f"websocket-{next(_numbers)}"
        """The name that the peer gets."""
        self.address = address
        """The peer's network address."""
        self.path = path
        """The path of the URL that it connected to."""
        self.params = dict(params or {})
        """The query parameters of that URL."""
        self.limits = limits or SessionLimits()
        """The limits of the peer."""
        self.authorize = authorize
        """Decides by a token whether the peer may connect; None to allow every peer."""

    def __repr__(self) -> str:
        # Without the parameters, which may hold a token and must not reach a log.
        return f"ConnectionRequest({self.name}{f', {self.address}' if self.address else ''})"


Accept = Callable[[Socket, ConnectionRequest], Awaitable[SocketTransport]]
"""Reads a peer's first message and makes its transport. Raises `RefusedError` once the peer has been told."""


async def accept_websocket(socket: Socket, request: ConnectionRequest) -> SocketTransport:
    """Wait for a peer's `start` and return its transport.

    The peer's sound comes at the rate and with the channels of each message. The agent's sound goes at the agent's own
    rate, or at the rate that the peer asked for, which takes PyAV (extra `audio`).

    Args:
        socket: The connection.
        request: What is known of the peer.

    Raises:
        RefusedError: No `start` came within `open_seconds`, or the token is wrong. The peer has been told, and the
            socket is closed.
    """
    start: Start | None = None
    try:

        async def read_start() -> None:
            nonlocal start
            start = _decode_start(await socket.receive())

        if not await wait_at_most(read_start, request.limits.open_seconds) or start is None:
            raise ControlError(f"this is not a start: nothing came for {request.limits.open_seconds:g} s", "too_late")
        if request.authorize is not None and not await is_authorized(request.authorize, start.token):
            raise ControlError("this token is wrong; give the right one, in `start` or as a bearer", "unauthorized")
    except SocketClosedError as error:
        raise RefusedError(f"{request!r} left before its start: {error}") from None
    except ControlError as error:
        await _refuse(socket, control.encode_error(error), 1008, str(error))
        raise RefusedError(f"{request!r} was refused: {error}") from None
    peer = Peer(name=request.name, address=request.address, params=request.params | dict(start.params))
    output = (start.output_rate, 1) if start.output_rate else None
    try:
        transport = SocketTransport(socket, AgentWire(), peer, limits=request.limits, output=output)
    except ModuleNotFoundError as error:  # the log says what to install; the peer learns what works without it
        fault = ControlError("this agent cannot change the rate of its sound; ask for output_rate 0", "unsupported")
        await _refuse(socket, control.encode_error(fault), 1011, str(fault))
        log.error("%s: output_rate %d: %s", request.name, start.output_rate, error)
        raise RefusedError(f"{request!r} was refused: {error}") from None
    transport.resumes = start.resume
    transport.make_ready = lambda: control.encode_ready(
        peer.name, start.output_rate, resume=transport.resume_token, resumed=transport.resumed
    )
    return transport


def _decode_start(data: Message) -> Start:
    message = control.decode_user_message(data) if isinstance(data, str) else None
    if not isinstance(message, Start):
        raise ControlError('this is not a start; the first message is {"type": "start", "rate": 16000}', "not_started")
    if not (RATES[0] <= message.rate <= RATES[1] and 1 <= message.channels <= MAX_CHANNELS):
        raise ControlError(f"this is not a start: {message.channels} channels at {message.rate} Hz")
    if message.output_rate and not RATES[0] <= message.output_rate <= RATES[1]:
        raise ControlError(f"this is not a start: output_rate is {message.output_rate} Hz")
    return message


async def is_authorized(authorize: Authorize, token: str) -> bool:
    """Return what `authorize` decides about a token, whether it is sync or async.

    Args:
        authorize: A function that takes a token and returns whether its peer may connect.
        token: The token of the peer.
    """
    answer = authorize(token)
    return bool(await answer if inspect.isawaitable(answer) else answer)


async def _refuse(socket: Socket, message: Message, code: int, reason: str) -> None:
    with anyio.move_on_after(1), suppress(SocketClosedError):
        await socket.send(message)
    await socket.close(code, reason)


async def serve_websocket_peer(
    socket: Socket, sessions: Sessions, request: ConnectionRequest | None = None, *, accept: Accept = accept_websocket
) -> Ending | None:
    """Serve one peer, on a socket that your own server has accepted, until its session has ended.

    The socket is closed when this returns, after a last message that says why.

    Args:
        socket: An object with the methods `send`, `receive` and `close` of `bargein.services.sockets.Socket`.
        sessions: Runs the session.
        request: What is known of the peer. Default: `ConnectionRequest()`.
        accept: Reads the peer's first message.

    Returns:
        How the session ended; None if the peer got none.
    """
    transport: SocketTransport | None = None
    request = request or ConnectionRequest(limits=sessions.limits)
    try:
        transport = await accept(socket, request)
        ending = await sessions.run(transport)
    except RefusedError as error:
        if transport is not None:
            await transport.close(1013, str(error))
        return None
    except Exception:
        await socket.close(1011, "the server failed")
        raise
    except BaseException:
        await socket.close(1001, "the server is going away")
        raise
    await transport.close_after(ending)
    return ending


def limit_waiting(sessions: Sessions, accept: Accept) -> Accept:
    """Return an `Accept` that bounds how many peers wait for their first message: in all, and of one address.

    A peer that has not sent `start` yet has no session, so the limit of sessions does not count it.

    Args:
        sessions: The sessions, with their limits.
        accept: The function to limit.
    """
    waiting = Counter[str]()

    async def accept_within_limit(socket: Socket, request: ConnectionRequest) -> SocketTransport:
        limits, key = sessions.limits, address_key(request.address)
        if waiting.total() >= limits.max_sessions or (key and waiting[key] >= limits.max_per_address):
            await socket.close(1013, "too many peers are waiting to start; try again later")
            raise RefusedError(f"{request!r} was refused: {waiting.total()} other peers have not sent start yet")
        waiting[key] += 1
        try:
            return await accept(socket, request)
        finally:
            waiting[key] -= 1
            if not waiting[key]:
                del waiting[key]

    return accept_within_limit
