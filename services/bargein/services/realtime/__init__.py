"""Realtime models: one class for all providers. A provider is a `Protocol` and a `Profile`."""

from bargein.services.errors import UnsupportedError

from .conversation import Conversation
from .policy import ReconnectPolicy
from .profile import Profile
from .protocol import (
    AudioCommitted,
    AudioPiece,
    Event,
    GoingAway,
    Interrupted,
    ItemCorrected,
    ItemOver,
    Message,
    OutOfBandCompleted,
    Protocol,
    ProtocolFault,
    RateLimitsReported,
    ResponseBegan,
    ResponseOver,
    Resumable,
    SessionReady,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    ToolCallWithdrawn,
    Transcribed,
    UsageReported,
    WordTimed,
)
from .realtime import Realtime, RealtimeError

__all__ = [
    "AudioCommitted",
    "AudioPiece",
    "Conversation",
    "Event",
    "GoingAway",
    "Interrupted",
    "ItemCorrected",
    "ItemOver",
    "Message",
    "OutOfBandCompleted",
    "Profile",
    "Protocol",
    "ProtocolFault",
    "RateLimitsReported",
    "Realtime",
    "RealtimeError",
    "ReconnectPolicy",
    "ResponseBegan",
    "ResponseOver",
    "Resumable",
    "SessionReady",
    "Settings",
    "SpeechBegan",
    "SpeechOver",
    "TextPiece",
    "ToolCallReceived",
    "ToolCallWithdrawn",
    "Transcribed",
    "UnsupportedError",
    "UsageReported",
    "WordTimed",
]
