"""Message sockets: a WebSocket on asyncio or trio, or a pipe in memory, behind the same three methods."""

from ._dial import dial
from ._listen import listen
from ._pipe import pipe
from .socket import Endpoint, Socket, SocketClosedError, SocketRefusedError, server_time

__all__ = ["Endpoint", "Socket", "SocketClosedError", "SocketRefusedError", "dial", "listen", "pipe", "server_time"]
