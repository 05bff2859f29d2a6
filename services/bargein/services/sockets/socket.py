"""The `Socket` protocol, the endpoint that a socket connects to, and the errors of sockets."""

from __future__ import annotations

import ssl as tls
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from bargein.pipeline.lowlevel import CheckedFields

from .secrets import hide_secrets, request_secrets

__all__ = ["Endpoint", "Socket", "SocketClosedError", "SocketRefusedError", "server_time"]


class SocketClosedError(ConnectionError):
    """The socket was closed by one of its two ends.

    Args:
        code: WebSocket close code; 1006 if the connection ended without one.
        reason: Reason that the other end sent.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}{f' ({reason})' if reason else ''}")
        self.code = code
        """WebSocket close code; 1006 if the connection ended without one."""
        self.reason = reason
        """Reason that the other end sent; empty if it sent none."""


class SocketRefusedError(ConnectionError):
    """The connection could not be opened: nothing answers at the address, or the server refuses.

    Args:
        message: What happened, in a sentence.
        status: HTTP status of the answer, if there was one.
        body: Beginning of the answer's body.
        wait_seconds: Number of seconds that the server asks the client to wait; None if it does not say.
        final: Whether retrying cannot succeed, whatever the status.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        body: str = "",
        wait_seconds: float | None = None,
        *,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the answer; None if there was no answer."""
        self.body = body
        """Beginning of the answer's body."""
        self.wait_seconds = wait_seconds
        """Number of seconds that the server asks the client to wait; None if it does not say."""
        self.final = final
        """Whether retrying cannot succeed, whatever the status."""


class Socket(Protocol):
    """A connection that carries whole messages both ways. One task may send while another task receives."""

    async def send(self, data: str | bytes) -> None:
        """Send a message: text as `str`, binary as `bytes`. Raises `SocketClosedError`.

        Args:
            data: The message.
        """

    async def receive(self) -> str | bytes:
        """Return the next message. Raises `SocketClosedError` when no more messages will come."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. Never raises, and may be called again.

        Args:
            code: WebSocket close code.
            reason: Reason for the other end; at most 120 bytes of it are sent.
        """


@runtime_checkable
class _DatedSocket(Protocol):
    """A socket that knows the server's clock."""

    server_time: float | None


def server_time(socket: Socket) -> float | None:
    """Return the server's clock when a socket was opened, in seconds since 1970; None if unknown.

    A WebSocket of `dial` knows it from the `Date` header of the server's answer. Other sockets need not know it.

    Args:
        socket: An open socket.
    """
    return socket.server_time if isinstance(socket, _DatedSocket) else None


class Endpoint(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """An address to connect to, with its headers and time limits.

    Its `repr` shows neither headers nor the query of the URL, because both may hold keys.

    Args:
        url: Address, `ws://...` or `wss://...`.
        headers: HTTP headers for the opening request.
        subprotocols: WebSocket subprotocols to offer.
        ssl: TLS settings; None for those of the system.
        open_seconds: Maximum time for connecting, in seconds.
        pong_seconds: Maximum time for a pong, in seconds, before the connection counts as dead; None for no limit.
    """

    url: str
    """Address, `ws://...` or `wss://...`."""
    headers: Mapping[str, str] = {}
    """HTTP headers for the opening request."""
    subprotocols: Sequence[str] = ()
    """WebSocket subprotocols to offer."""
    ssl: tls.SSLContext | None = None
    """TLS settings; None for those of the system."""
    open_seconds: float = 10.0
    """Maximum time for connecting, in seconds."""
    pong_seconds: float | None = 20.0
    """Maximum time for a pong, in seconds, before the connection counts as dead; None for no limit."""

    def hide_secrets(self, text: str) -> str:
        """Return a server's text without the secrets of this endpoint: the values of its headers and of its query.

        Args:
            text: A text of the server.
        """
        return hide_secrets(text, request_secrets(self.url, self.headers))

    def __repr__(self) -> str:
        return f"Endpoint({self.url.split('?')[0]})"
