"""A conversation as JSON, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .history import Entry

__all__ = ["VERSION", "loaded", "saved"]

VERSION = 1


def saved(entries: Sequence[Entry], forgotten: int) -> bytes:
    """The entries, and how many were forgotten before them."""
    return msgspec.json.encode({"version": VERSION, "forgotten": forgotten, "entries": entries})


def loaded(data: bytes | str) -> tuple[list[Entry], int]:
    """What `saved` has made. Raises `ValueError` with what is wrong, and where."""
    from .history import Entry

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
        raise ValueError("History.from_json: it is nested too deeply to be a conversation") from None
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise ValueError(f"History.from_json: {error}; expected what to_json() has made") from None
