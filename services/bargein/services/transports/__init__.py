"""Transports: how a peer's sound, pictures and words come in, and the agent's go out."""

from .sessions import Ending, LiveSession, RefusedError, SessionLimits, Sessions, SessionsStatistics
from .transport import Peer, PeerJoined, PeerLeft, Transport

__all__ = [
    "Ending",
    "LiveSession",
    "Peer",
    "PeerJoined",
    "PeerLeft",
    "RefusedError",
    "SessionLimits",
    "Sessions",
    "SessionsStatistics",
    "Transport",
]
