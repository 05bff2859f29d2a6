"""Gemini's live interface: `GeminiLive` is a client of it, `ScriptedGemini` a server of it for tests."""

from .protocol import PROFILE, GeminiProtocol
from .realtime import GeminiLive

__all__ = ["PROFILE", "GeminiLive", "GeminiProtocol"]
