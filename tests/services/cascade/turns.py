"""A user's turn, and what was answered."""

from __future__ import annotations

from typing import Any

from bargein.pipeline import Text
from bargein.pipeline.testing import Harness
from bargein.processors import Turn


def turn(text: str, number: int = 1, **fields: Any) -> Turn:
    return Turn(turn=number, text=text, **fields)


def said(harness: Harness) -> list[str]:
    """What was written, by response."""
    texts: dict[str, str] = {}
    for frame in harness.of(Text):
        texts[frame.response_id] = texts.get(frame.response_id, "") + frame.text
    return list(texts.values())
