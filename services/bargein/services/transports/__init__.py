"""Transports: how a peer's sound, pictures and words come in, and the agent's go out."""

from .files import FileTransport
from .sessions import Ending, LiveSession, RefusedError, SessionLimits, Sessions, SessionsStatistics
from .signals import drain_on_signal
from .transport import Dtmf, Peer, PeerJoined, PeerLeft, Transport
from .websocket import ConnectionRequest, WebSocketServer, accept_websocket, serve_websocket, serve_websocket_peer
from .websocket.client import WebSocketClient, connect_websocket

__all__ = [
    "ConnectionRequest",
    "Dtmf",
    "Ending",
    "FileTransport",
    "LiveSession",
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
