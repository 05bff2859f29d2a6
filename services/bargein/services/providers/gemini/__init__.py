"""Google's Gemini Live: `GeminiLive`, a realtime model of AI Studio or of Vertex AI."""

from .protocol import PROFILE, GeminiProtocol, Scheduling
from .realtime import GeminiLive

__all__ = ["PROFILE", "GeminiLive", "GeminiProtocol", "Scheduling"]
