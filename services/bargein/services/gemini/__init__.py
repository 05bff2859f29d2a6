"""Gemini's live interface: `GeminiLive` is a client of it, `ScriptedGemini` a server of it for tests."""

from .live import GeminiLive
from .peer import ScriptedGemini
from .protocol import PROFILE, GeminiProtocol

__all__ = ["PROFILE", "GeminiLive", "GeminiProtocol", "ScriptedGemini"]
