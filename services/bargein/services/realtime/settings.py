"""What a session is configured with, for every provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

__all__ = ["Settings", "deep_merge", "named_setting"]


class Settings(msgspec.Struct, kw_only=True):
    """What a session is configured with. Each protocol translates it for its provider."""

    model: str
    """Name of the model, as the provider calls it."""
    instructions: str = ""
    """What the model should do and be."""
    voice: str | None = None
    """Name of the voice, as the provider calls it; None for the provider's default."""
    output: Literal["audio", "text"] = "audio"
    """Whether the model speaks, or only writes."""
    tools: Sequence[dict[str, Any]] = ()
    """Tools, each with `name`, `description` and `parameters` (a JSON schema)."""
    turn_detection: dict[str, Any] | None = None
    """How the provider detects turns, such as `{"type": "server_vad"}`, in its own fields; None for push to talk."""
    transcription: dict[str, Any] | None = None
    """How the user's audio is transcribed, in the provider's own fields; None for no transcription."""
    extra: dict[str, Any] = {}
    """Further fields of the provider. They replace those that the protocol writes."""

    def with_extra(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that a protocol has written, with `extra` merged over them, nested dictionaries too."""
        return deep_merge(base, self.extra)


def named_setting(option: str, value: str | Mapping[str, Any] | None, field: str = "type") -> dict[str, Any] | None:
    """Return a setting as a dictionary. The user may give it as one, or as a name alone.

    Args:
        option: Name of the option, for the error message.
        value: What the user gave: a name, a dictionary, or None.
        field: The field of the dictionary that holds the name.

    Raises:
        TypeError: The value is something else.
    """
    if isinstance(value, str):
        return {field: value}
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{option}={value!r}: expected a name, a dictionary with its {field}, or None")
    return None if value is None else dict(value)


def deep_merge(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the fields of `more` over it. Dictionaries in both are merged the same way.

    Args:
        base: The dictionary with the defaults. It is not changed.
        more: The fields that replace or extend those of `base`.
    """
    merged = dict(base)
    for key, value in more.items():
        old = merged.get(key)
        merged[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
