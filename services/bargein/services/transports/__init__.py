"""Transports: how a peer's sound, pictures and text come in, and how the agent's go out."""

from .files import FileTransport
from .frames import Dtmf, PeerJoined, PeerLeft
from .sessions import BuildAgent, Ending, LiveSession, RefusedError, SessionLimits, Sessions, SessionsStatistics
from .signals import drain_on_signal
from .transport import MayBeSilent, Peer, Transport
from .websocket import (
    ConnectionRequest,
    WebSocketClient,
    WebSocketServer,
    accept_websocket,
    connect_websocket,
    serve_websocket,
    serve_websocket_peer,
)

__all__ = [
    "BuildAgent",
    "ConnectionRequest",
    "Dtmf",
    "Ending",
    "FileTransport",
    "LiveSession",
    "MayBeSilent",
    "Peer",
    "PeerJoined",
    "PeerLeft",
    "RefusedError",
    "SessionLimits",
    "Sessions",
    "SessionsStatistics",
    "Transport",
    "WebSocketClient",
    "WebSocketServer",
    "accept_websocket",
    "connect_websocket",
    "drain_on_signal",
    "serve_websocket",
    "serve_websocket_peer",
]
