"""WebRTC: a browser, or any other peer of that kind, talks to an agent (extra `webrtc`, asyncio only)."""

from bargein.services.media.ice import IceServer

from .server import SdpAnswer, SignallingError, WebRtcServer
from .transport import WebRtcStatistics, WebRtcTransport

__all__ = ["IceServer", "SdpAnswer", "SignallingError", "WebRtcServer", "WebRtcStatistics", "WebRtcTransport"]
