"""Sample input for a processor, made from what its contract takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from bargein.pipeline._contract import Contract
from bargein.pipeline.frames import (
    Audio,
    Delivery,
    Failure,
    Frame,
    Image,
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

from .signals import framed, speech_like

__all__ = ["sample_input"]

FRAMES_OF_EACH = 10
FRAME_NS = 20_000_000

_PIXELS = np.zeros((4, 6, 3), np.uint8)

_MAKERS: dict[type[Frame], Callable[[int], Frame]] = {
    Video: lambda at: Video(_PIXELS, pts=at * FRAME_NS),
    Image: lambda at: Image(_PIXELS, pts=at * FRAME_NS),
    Text: lambda at: Text(f"word {at} ", response_id="response", item_id="item", pts=at * FRAME_NS),
    UserText: lambda at: UserText(f"message {at}", pts=at * FRAME_NS),
    Transcript: lambda at: Transcript(f"sentence {at}", final=True, item_id=f"item {at}", pts=at * FRAME_NS),
    SpeechStarted: lambda at: SpeechStarted(item_id=f"item {at}", pts=at * FRAME_NS),
    SpeechStopped: lambda at: SpeechStopped(item_id=f"item {at}", pts=at * FRAME_NS),
    ResponseStarted: lambda at: ResponseStarted(f"response {at}", pts=at * FRAME_NS),
    ResponseEnded: lambda at: ResponseEnded(f"response {at}", pts=at * FRAME_NS),
    ToolCall: lambda at: ToolCall(f"call {at}", "tool", pts=at * FRAME_NS),
    ToolResult: lambda at: ToolResult(f"call {at}", "{}", pts=at * FRAME_NS),
    Usage: lambda at: Usage(response_id=f"response {at}", input_tokens=at, pts=at * FRAME_NS),
    Played: lambda at: Played(response_id="response", item_id="item", ms=20.0 * at, pts=at * FRAME_NS),
    Failure: lambda at: Failure(f"failure {at}", pts=at * FRAME_NS),
}


def sample_input(contract: Contract, rate: int) -> list[Frame]:
    """Return a representative input: speech-like sound if the contract takes `Audio`, else frames of each class.

    Urgent frames and the end are not part of it: the conformance checks send those themselves.

    Args:
        contract: What the processor takes.
        rate: Samples a second (Hz) of the sound.
    """
    if contract.accepts(Audio):
        return list(framed(speech_like(500, rate=rate), rate=rate))
    kinds = [
        kind
        for kind in sorted(contract.takes, key=lambda kind: kind.__name__)
        if kind.delivery not in (Delivery.URGENT, Delivery.LAST)
    ]
    frames = [_make(kind, at) for at in range(FRAMES_OF_EACH) for kind in kinds]
    return [frame for frame in frames if frame is not None]


def _make(kind: type[Frame], at: int) -> Frame | None:
    """Return a frame of a class, or None for a class whose fields cannot be filled in."""
    if kind in _MAKERS:
        return _MAKERS[kind](at)
    values: dict[type, Any] = {str: f"text {at}", int: at, float: float(at), bool: False, bytes: b"bytes"}
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.required:
            if field.type not in values:
                return None
            fields[field.name] = values[field.type]
    try:
        return kind(**{"pts": at * FRAME_NS, **fields})
    except Exception:  # an application's class may check its fields as it likes
        return None
