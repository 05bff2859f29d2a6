"""Ultravox: `Ultravox` is a client; `SPOKEN` lets this project's `serve` answer as it does."""

from .protocol import PROFILE, UltravoxProtocol
from .realtime import Ultravox
from .server_language import SPOKEN, UltravoxLanguage

__all__ = ["PROFILE", "SPOKEN", "Ultravox", "UltravoxLanguage", "UltravoxProtocol"]
