"""Small values of Gemini's wire in this project's terms: turns of a conversation, durations, token counts. No I/O."""

from __future__ import annotations

from typing import Any

from bargein.services.history import Entry

__all__ = ["entry_to_turn", "parse_duration", "usage_fields"]


def entry_to_turn(entry: Entry) -> dict[str, Any]:
    """Return an entry of the history as a turn on the wire.

    The wire knows the roles `user` and `model` only. System entries and tool calls become words of the user.
    """
    if entry.role == "call":
        text = f"({entry.name} was called with {entry.arguments}, and answered: {entry.output})"
        return {"role": "user", "parts": [{"text": text}]}
    parts: list[dict[str, Any]] = [
        {"inlineData": {"mimeType": picture.media, "data": picture.data}} for picture in entry.available_pictures
    ]
    if entry.remembered.strip() or not parts:
        parts.append({"text": entry.remembered})
    return {"role": "model" if entry.role == "assistant" else "user", "parts": parts}


def parse_duration(duration: Any) -> float:
    """Return a JSON duration such as `"49.5s"` in seconds, from 0 to a day; 0 if it cannot be read."""
    try:
        return max(0.0, min(86_400.0, float(str(duration or "0").removesuffix("s"))))
    except ValueError:
        return 0.0


def usage_fields(usage: Any) -> dict[str, int]:
    """Return the fields of a `Usage` frame that a `usageMetadata` object fills. Zero counts are left out."""
    if not isinstance(usage, dict):
        return {}
    counts = {
        "input_tokens": _count(usage.get("promptTokenCount")),
        # AI Studio says "response", Vertex AI says "candidates". Tokens of the model's reasoning are counted apart,
        # but are paid for as output.
        "output_tokens": _count(usage.get("responseTokenCount") or usage.get("candidatesTokenCount"))
        + _count(usage.get("thoughtsTokenCount")),
        "input_audio_tokens": _audio_count(usage.get("promptTokensDetails")),
        "cached_tokens": _count(usage.get("cachedContentTokenCount")),
        "output_audio_tokens": _audio_count(usage.get("responseTokensDetails") or usage.get("candidatesTokensDetails")),
    }
    return {name: value for name, value in counts.items() if value}


def _audio_count(details: Any) -> int:
    rows = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    return sum(_count(each.get("tokenCount")) for each in rows if each.get("modality") == "AUDIO")


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else 0
