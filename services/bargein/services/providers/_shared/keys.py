"""Keys of providers: looked at before they are sent, and never printed."""

from __future__ import annotations

__all__ = ["checked_key"]


def checked_key(who: str, key: str, where: str) -> str:
    """The key, unless it has characters that no key has. `where` is the environment variable it may come from."""
    if not isinstance(key, str):
        raise TypeError(f"{who}: the key is of type {type(key).__name__}; expected a string")
    if not key.isascii() or (key and not key.isprintable()) or " " in key:
        raise ValueError(f"{who}: the key has characters that no key has; look at api_key or {where}")
    return key
