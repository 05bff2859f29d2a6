"""Text as every wire takes it."""

from __future__ import annotations

__all__ = ["clean"]


def clean(text: str) -> str:
    """The text without what no wire takes: half a surrogate pair becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
