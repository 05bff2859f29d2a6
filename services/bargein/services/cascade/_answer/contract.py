"""The frames that an `Answer` takes and sends."""

from __future__ import annotations

from bargein.pipeline import (
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
    Video,
)
from bargein.processors import AgentActivity, Heard, Turn
from bargein.services.frames import (
    Configure,
    OutOfBand,
    Remember,
    Respond,
    Say,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

__all__ = ["AnswerInput", "AnswerOutput"]

AnswerInput = (
    Turn
    | SpeechStarted
    | SpeechStopped
    | Transcript
    | Respond
    | Say
    | Configure
    | Remember
    | Image
    | Video
    | ToolResult
    | Heard
    | Played
    | AgentActivity
    | Interrupt
)
"""Frames that an `Answer` takes."""

AnswerOutput = (
    Turn
    | SpeechStarted
    | SpeechStopped
    | Transcript
    | Image
    | Video
    | ResponseStarted
    | Text
    | ToolCall
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Usage
    | ResponseEnded
    | Interrupt
    | Failure
    | OutOfBand
)
"""Frames that an `Answer` sends."""
