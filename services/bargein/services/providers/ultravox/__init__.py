"""Ultravox's realtime models: `Ultravox`, a client, and `ULTRAVOX`, the dialect that `serve` can speak."""

from .protocol import PROFILE, UltravoxProtocol
from .realtime import Ultravox
from .server_language import ULTRAVOX, UltravoxLanguage

__all__ = ["PROFILE", "ULTRAVOX", "Ultravox", "UltravoxLanguage", "UltravoxProtocol"]
