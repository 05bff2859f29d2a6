"""The microphone and the loudspeaker of this machine (extra `local`)."""

from .transport import DeviceError, LocalTransport

__all__ = ["DeviceError", "LocalTransport"]
