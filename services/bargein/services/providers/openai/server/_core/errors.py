"""Errors for what a client may not ask, in the words and codes of the real service."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bargein.services.providers.openai import wire

__all__ = ["RequestError", "explain_malformed", "missing", "wrong_type", "wrong_value"]

_MISSING = re.compile(r"missing required field `([^`]*)`(?: - at `\$\.?([^`]*)`)?")
_WRONG = re.compile(r"Expected `([^`]*)`, got `([^`]*)`(?: - at `\$\.?([^`]*)`)?")
_BASE64 = re.compile(r"[Bb]ase64.*?(?: - at `\$\.?([^`]*)`)")
_TYPES = {"int": "an integer", "str": "a string", "object": "an object", "array": "an array", "bytes": "a string"}
_KNOWN = ", ".join(f"'{kind.__struct_config__.tag}'" for kind in wire.ClientEvent.__args__)


class RequestError(Exception):
    """A client's request that cannot be done. It becomes an `error` event, and the session continues."""

    def __init__(self, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The API's code."""
        self.message = message
        """A sentence for people."""
        self.param = param
        """The field that is wrong."""


def missing(param: str) -> RequestError:
    """Return the error for a required field that is missing."""
    return RequestError("missing_required_parameter", f"Missing required parameter: '{param}'.", param)


def wrong_value(param: str, value: Any, expected: str) -> RequestError:
    """Return the error for a value that is not allowed; `expected` says which are."""
    return RequestError("invalid_value", f"Invalid value: {value!r:.80}. {expected}", param)


def wrong_type(param: str, value: Any, expected: str) -> RequestError:
    """Return the error for a value of the wrong type; `expected` names the right one."""
    kind = "null" if value is None else type(value).__name__
    return RequestError(
        "invalid_type", f"Invalid type for '{param}': expected {expected}, but got {kind} instead.", param
    )


class _EventId(msgspec.Struct):
    event_id: str | None = None


def explain_malformed(data: str | bytes, problem: wire.MalformedError | str) -> tuple[RequestError, str | None]:
    """Return the error for a message that could not be read, and the message's `event_id`, if that can be read.

    The service names the field that is wrong. Here its name is found in the messages of `msgspec` (0.18 to 0.19); with
    other words of a later version the code would become `invalid_json`, which `test_session.py` shows.

    Args:
        data: The message.
        problem: Why it could not be decoded, or its type where that is unknown.
    """
    try:
        head = msgspec.json.decode(data, type=_EventId).event_id
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
        message = f"Invalid type for '{name}': expected {expected}, but got {found[2]} instead."
        return RequestError("invalid_type", message, name), head
    return RequestError("invalid_json", f"We could not parse the JSON of your event. ({text:.200})"), head
