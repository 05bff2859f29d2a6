"""A conversation as JSON, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from bargein.services.sockets.text import clean

from .entry import Entry

__all__ = ["VERSION", "decode_entries", "encode_entries"]

VERSION = 1


def encode_entries(entries: Iterable[Entry], forgotten: int) -> bytes:
    """Return entries as JSON.

    Args:
        entries: The entries, oldest first.
        forgotten: Number of entries that were dropped before them.
    """
    document = {"version": VERSION, "forgotten": forgotten, "entries": list(entries)}
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:  # half of a surrogate pair, which a peer or a model can send
        return msgspec.json.encode(_clean(msgspec.to_builtins(document)))


def _clean(value: Any) -> Any:
    """Return a JSON value whose strings can be encoded."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def decode_entries(data: bytes | str) -> tuple[list[Entry], int]:
    """Return the entries that `encode_entries` wrote, and the number of entries that were dropped before them.

    Args:
        data: The JSON document.

    Raises:
        ValueError: The data is something else; the message says what is wrong, and where.
    """
    try:
        found: Any = msgspec.json.decode(data)
        version = found.get("version") if isinstance(found, dict) else None
        if version is None:
            raise ValueError("it has no version")
        if version != VERSION:
            raise ValueError(f"its version is {version!r:.20}, and this one reads {VERSION}")
        forgotten = msgspec.convert(found.get("forgotten", 0), int)
        return msgspec.convert(found.get("entries"), list[Entry]), forgotten
    except RecursionError:
        raise ValueError("History.from_json: the data is nested too deeply to be a conversation") from None
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise ValueError(f"History.from_json: {error}; expected what to_json() returns") from None
