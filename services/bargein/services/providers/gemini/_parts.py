"""Small pieces of the wire put in other words: turns of an earlier conversation, durations, usage."""

from __future__ import annotations

from typing import Any

from bargein.services.history import Entry

__all__ = ["seconds", "turn_of", "usage_of"]


def turn_of(entry: Entry) -> dict[str, Any]:
    """A turn of an earlier conversation: the system has none, so the user tells what it said."""
    if entry.role == "call":
        text = f"({entry.name} was called with {entry.arguments}, and answered: {entry.output})"
        return {"role": "user", "parts": [{"text": text}]}
    parts: list[dict[str, Any]] = [
        {"inlineData": {"mimeType": picture.media, "data": picture.data}} for picture in entry.seen
    ]
    if entry.remembered.strip() or not parts:
        parts.append({"text": entry.remembered})
    return {"role": "model" if entry.role == "assistant" else "user", "parts": parts}


def seconds(duration: Any) -> float:
    """A duration as JSON has it, such as `49.5s`; 0 for what is none."""
    try:
        return max(0.0, min(86_400.0, float(str(duration or "0").removesuffix("s"))))
    except ValueError:
        return 0.0


def usage_of(usage: Any) -> dict[str, int]:
    """The fields of `Usage`; Vertex calls the model's tokens candidates'."""
    if not isinstance(usage, dict):
        return {}
    counted = {
        "input_tokens": _number(usage.get("promptTokenCount")),
        "output_tokens": _number(usage.get("responseTokenCount") or usage.get("candidatesTokenCount")),
        "input_audio_tokens": _of_sound(usage.get("promptTokensDetails")),
        "cached_tokens": _number(usage.get("cachedContentTokenCount")),
        "output_audio_tokens": _of_sound(usage.get("responseTokensDetails") or usage.get("candidatesTokensDetails")),
    }
    return {name: value for name, value in counted.items() if value}


def _of_sound(details: Any) -> int:
    rows = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    return sum(_number(each.get("tokenCount")) for each in rows if each.get("modality") == "AUDIO")


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else 0
