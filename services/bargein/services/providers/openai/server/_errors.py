"""What the server refuses, in the words and codes of the real one."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bargein.services.providers.openai import wire

__all__ = ["RequestError", "explained", "missing", "wrong_type", "wrong_value"]

_MISSING = re.compile(r"missing required field `([^`]*)`(?: - at `\$\.?([^`]*)`)?")
_WRONG = re.compile(r"Expected `([^`]*)`, got `([^`]*)`(?: - at `\$\.?([^`]*)`)?")
_BASE64 = re.compile(r"[Bb]ase64.*?(?: - at `\$\.?([^`]*)`)")
_TYPES = {"int": "an integer", "str": "a string", "object": "an object", "array": "an array", "bytes": "a string"}
_KNOWN = ", ".join(f"'{kind.__struct_config__.tag}'" for kind in wire.ClientEvent.__args__)


class RequestError(Exception):
    """A client's event that cannot be done: becomes an `error` event, and the session goes on."""

    def __init__(self, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The API's code."""
        self.message = message
        """A sentence."""
        self.param = param
        """Which field."""


def missing(param: str) -> RequestError:
    """For a field that must be there."""
    return RequestError("missing_required_parameter", f"Missing required parameter: '{param}'.", param)


def wrong_value(param: str, value: Any, expected: str) -> RequestError:
    """For a value that is none of those expected."""
    return RequestError("invalid_value", f"Invalid value: {value!r:.80}. {expected}", param)


def wrong_type(param: str, value: Any, expected: str) -> RequestError:
    """For a value of another type."""
    kind = "null" if value is None else type(value).__name__
    return RequestError(
        "invalid_type", f"Invalid type for '{param}': expected {expected}, but got {kind} instead.", param
    )


class _Head(msgspec.Struct):
    event_id: str | None = None


def explained(data: str | bytes, problem: wire.MalformedError | str) -> tuple[RequestError, str | None]:
    """Why a message could not be read, and the `event_id` that it has nevertheless."""
    try:
        head = msgspec.json.decode(data, type=_Head).event_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        head = None
    if isinstance(problem, str):
        return wrong_value("type", problem, f"Supported values are: {_KNOWN}."), head
    text = str(problem)
    if found := _MISSING.search(text):
        inside = f"{found[2]}." if found[2] else ""
        return missing(f"{inside}{found[1]}"), head
    if (found := _BASE64.search(text)) is not None:
        name = found[1] or "audio"
        return RequestError("invalid_value", f"Invalid '{name}'. Expected base64-encoded audio bytes.", name), head
    if found := _WRONG.search(text):
        name = found[3] or "type"
        expected = _TYPES.get(found[1].split(" | ")[0], found[1])
        said = f"Invalid type for '{name}': expected {expected}, but got {found[2]} instead."
        return RequestError("invalid_type", said, name), head
    return RequestError("invalid_json", f"We could not parse the JSON of your event. ({text:.200})"), head
