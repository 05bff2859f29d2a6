"""What the vendors' messages have in common: JSON with an `event`, and sound in base64."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from bargein.services.transports.control import ControlError

__all__ = ["made", "parsed"]

T = TypeVar("T")


def parsed(decoder: msgspec.json.Decoder[T], data: str | bytes, vendor: str) -> T:
    """A message. Raises `ControlError`, and nothing else."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ControlError(f"this is no message of {vendor}: {error}") from None


def made(**message: Any) -> str:
    """A message; bytes become base64."""
    return msgspec.json.encode(message).decode()
