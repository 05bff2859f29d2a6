"""Realtime models: one class for all providers. A provider is a `Protocol` and a `Profile`."""

from .conversation import Conversation
from .policy import ReconnectPolicy
from .profile import Profile, UnsupportedError
from .protocol import (
    AsideOver,
    AudioCommitted,
    AudioPiece,
    CallCancelled,
    CallMade,
    Event,
    GoingAway,
    ItemOver,
    Limited,
    Message,
    Protocol,
    ProtocolFault,
    Ready,
    ResponseBegan,
    ResponseOver,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    Transcribed,
)
from .realtime import Realtime, RealtimeError

__all__ = [
    "AsideOver",
    "AudioCommitted",
    "AudioPiece",
    "CallCancelled",
    "CallMade",
    "Conversation",
    "Event",
    "GoingAway",
    "ItemOver",
    "Limited",
    "Message",
    "Profile",
    "Protocol",
    "ProtocolFault",
    "Ready",
    "Realtime",
    "RealtimeError",
    "ReconnectPolicy",
    "ResponseBegan",
    "ResponseOver",
    "Settings",
    "SpeechBegan",
    "SpeechOver",
    "TextPiece",
    "Transcribed",
    "UnsupportedError",
]
