"""Text that can always be encoded as UTF-8."""

from __future__ import annotations

__all__ = ["clean"]


def clean(text: str) -> str:
    """Return the text with each lone surrogate replaced by a question mark.

    JSON may contain half of a surrogate pair, and Python reads it. UTF-8 cannot encode it, so sending it would fail.

    Args:
        text: Any string.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
