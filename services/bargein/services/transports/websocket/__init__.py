"""The WebSocket transport, both ends."""

from .client import WebSocketClient, connect_websocket
from .server import Accept, Authorize, Visit, WebSocketServer, accept_websocket, serve_websocket, serve_websocket_peer

__all__ = [
    "Accept",
    "Authorize",
    "Visit",
    "WebSocketClient",
    "WebSocketServer",
    "accept_websocket",
    "connect_websocket",
    "serve_websocket",
    "serve_websocket_peer",
]
