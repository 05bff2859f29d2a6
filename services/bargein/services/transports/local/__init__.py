"""The microphone and the loudspeaker of this machine (extra `local`)."""

from .transport import DeviceError, LocalTransport, SoundStream, SoundSystem

__all__ = ["DeviceError", "LocalTransport", "SoundStream", "SoundSystem"]
