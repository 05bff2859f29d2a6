"""The frames that a realtime model takes and sends."""

from __future__ import annotations

from bargein.pipeline import (
    Audio,
    Failure,
    Image,
    Interrupt,
    Played,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    Usage,
    UserText,
    Video,
)
from bargein.processors import AgentActivity, Commit, Heard, Timing, Turn, TurnControl
from bargein.services.frames import (
    ClearAudio,
    Configure,
    Connected,
    Disconnected,
    OutOfBand,
    RateLimits,
    Remember,
    Respond,
    Say,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

__all__ = ["RealtimeInput", "RealtimeOutput"]

RealtimeInput = (
    Audio
    | Video
    | Image
    | UserText
    | SpeechStarted
    | SpeechStopped
    | Turn
    | TurnControl
    | Commit
    | Respond
    | Say
    | ClearAudio
    | Configure
    | Remember
    | ToolResult
    | Played
    | Heard
    | AgentActivity
    | Interrupt
)
"""Frames that a realtime model takes."""

RealtimeOutput = (
    ResponseStarted
    | Audio
    | Text
    | Timing
    | Transcript
    | SpeechStarted
    | SpeechStopped
    | ToolCall
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Usage
    | ResponseEnded
    | Interrupt
    | Failure
    | OutOfBand
    | RateLimits
    | Connected
    | Disconnected
)
"""Frames that a realtime model sends."""
