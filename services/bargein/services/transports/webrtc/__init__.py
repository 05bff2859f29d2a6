"""WebRTC: a browser, or another WebRTC peer, talks to an agent (extra `webrtc`, asyncio only)."""

from bargein.services.media.ice import IceServer

from .server import SdpAnswer, SignallingError, WebRtcServer
from .transport import WebRtcStatistics, WebRtcTransport

__all__ = ["IceServer", "SdpAnswer", "SignallingError", "WebRtcServer", "WebRtcStatistics", "WebRtcTransport"]
