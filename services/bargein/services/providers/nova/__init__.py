"""Amazon's Nova Sonic, versions 1 and 2, over Bedrock's streams of HTTP/2 (extra `nova`)."""

from ._signing import Credentials
from .protocol import PROFILE, PROFILE_1, NovaProtocol
from .realtime import NovaSonic

__all__ = ["PROFILE", "PROFILE_1", "Credentials", "NovaProtocol", "NovaSonic"]
