"""The frames: frozen pieces of media, text and events that travel through a graph.

A frame takes its payload by position and the rest by keyword: `Text("Hello", epoch=3)`. Define your own frame as one
small class::

    class Subtitle(Frame, frozen=True):
        text: str

Frames are shared and never copied: two branches receive the same object, so do not write into its arrays.
"""

from ._base import LIVE, Delivery, Frame, ItemFrame, ReplyFrame, check_text, payload
from ._control import End, Failure, Hold, Interrupt, Played, Resume
from ._conversation import (
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
)
from ._media import Audio, Image, Video

__all__ = [
    "LIVE",
    "Audio",
    "Delivery",
    "End",
    "Failure",
    "Frame",
    "Hold",
    "Image",
    "Interrupt",
    "ItemFrame",
    "Played",
    "ReplyFrame",
    "ResponseEnded",
    "ResponseStarted",
    "Resume",
    "SpeechStarted",
    "SpeechStopped",
    "Text",
    "ToolCall",
    "ToolResult",
    "Transcript",
    "Usage",
    "UserText",
    "Video",
    "check_text",
    "payload",
]
