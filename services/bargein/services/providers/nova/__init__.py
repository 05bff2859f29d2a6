"""Amazon's Nova Sonic and Nova 2 Sonic over Bedrock's HTTP/2 streams (extra `nova`)."""

from ._signing import Credentials
from .protocol import PROFILE, PROFILE_1, NovaProtocol
from .realtime import NovaSonic

__all__ = ["PROFILE", "PROFILE_1", "Credentials", "NovaProtocol", "NovaSonic"]
