"""Transports that send their messages over one socket: what WebSockets and telephone lines share."""

from .transport import SocketStatistics, SocketTransport
from .wire import Marked, Message, UserFrame, Wire

__all__ = ["Marked", "Message", "SocketStatistics", "SocketTransport", "UserFrame", "Wire"]
