"""The WebSocket transport, both ends."""

from .accept import Accept, Authorize, ConnectionRequest, accept_websocket, serve_websocket_peer
from .client import WebSocketClient, connect_websocket
from .server import WebSocketServer, serve_websocket

__all__ = [
    "Accept",
    "Authorize",
    "ConnectionRequest",
    "WebSocketClient",
    "WebSocketServer",
    "accept_websocket",
    "connect_websocket",
    "serve_websocket",
    "serve_websocket_peer",
]
