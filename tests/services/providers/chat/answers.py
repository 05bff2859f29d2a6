"""Answers of a chat-completions server, as they come over the wire."""

from __future__ import annotations

import json
from typing import Any

from bargein.pipeline import Usage
from bargein.services.cascade.parts import ToolRequest

Piece = str | ToolRequest | Usage


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}\n\n'  # noqa: E501
DONE = b"data: [DONE]\n\n"
HELLO = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo ü"})]
HELLO_PIECES = ["Hel", "lo ü", Usage(input_tokens=9, output_tokens=2, cached_tokens=4)]
