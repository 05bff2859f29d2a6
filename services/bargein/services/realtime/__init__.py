"""Realtime models: one class for all providers. A provider is a `Protocol` and a `Profile`."""

from bargein.services.brain import UnsupportedError

from .contract import RealtimeInput, RealtimeOutput
from .conversation import Conversation
from .events import (
    AudioCommitted,
    AudioPiece,
    Event,
    GoingAway,
    Interrupted,
    ItemCorrected,
    ItemOver,
    OutOfBandCompleted,
    ProtocolFault,
    RateLimitsReported,
    ResponseBegan,
    ResponseOver,
    Resumable,
    SessionReady,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    ToolCallWithdrawn,
    Transcribed,
    UsageReported,
    WordTimed,
)
from .policy import ReconnectPolicy
from .profile import Profile
from .protocol import Message, Protocol
from .realtime import Realtime, RealtimeError
from .settings import DriverOptions, Settings, deep_merge, driver_options, named_setting

__all__ = [
    "AudioCommitted",
    "AudioPiece",
    "Conversation",
    "DriverOptions",
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
    "RealtimeInput",
    "RealtimeOutput",
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
    "deep_merge",
    "driver_options",
    "named_setting",
]
