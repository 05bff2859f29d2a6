"""WebRTC: a browser, or any other peer of that kind, talks to an agent (extra `webrtc`, asyncio only)."""

from .server import Answer, IceServer, SignallingError, WebRtcServer
from .transport import WebRtcStatistics, WebRtcTransport

__all__ = ["Answer", "IceServer", "SignallingError", "WebRtcServer", "WebRtcStatistics", "WebRtcTransport"]
