"""The WebSocket transport, both ends."""

from .client import WebSocketClient, connect_websocket
from .server import (
    Accept,
    Authorize,
    ConnectionRequest,
    WebSocketServer,
    accept_websocket,
    serve_websocket,
    serve_websocket_peer,
)

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
