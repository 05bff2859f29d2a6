"""A tool's JSON schema in Gemini's words: a subset of OpenAPI's, with types in capitals."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["declaration"]

KEPT: Final = (
    "description",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "required",
)
"""What is called the same in both."""
DROPPED: Final = {"title", "default", "additionalProperties", "examples"}
"""What the model can do without."""
TRANSLATED: Final = {"type", "properties", "items", "anyOf"}


class _BeyondError(Exception):
    """The subset has no word for it."""


def declaration(tool: dict[str, Any]) -> dict[str, Any]:
    """A function declaration. A schema that goes beyond the subset is given as it stands, which newer models take."""
    declared: dict[str, Any] = {"name": tool["name"], "description": tool.get("description") or ""}
    schema = tool.get("parameters") or {}
    if not schema.get("properties"):
        return declared  # an object without properties is refused
    try:
        declared["parameters"] = _translated(schema)
    except _BeyondError:
        declared["parametersJsonSchema"] = schema
    return declared


def _translated(schema: dict[str, Any]) -> dict[str, Any]:
    """One schema. Raises `_BeyondError` for references, fixed values, tuples, dictionaries of one kind, …"""
    if schema.keys() - TRANSLATED - DROPPED - set(KEPT) or isinstance(schema.get("additionalProperties"), dict):
        raise _BeyondError
    if not all(isinstance(each, str) for each in schema.get("enum", ())):
        raise _BeyondError  # its choices are strings
    made: dict[str, Any] = {key: schema[key] for key in KEPT if key in schema}
    choices = schema.get("anyOf", ())
    kinds = schema.get("type", ())
    if isinstance(kinds, list | tuple):
        choices = [*choices, *({"type": kind} for kind in kinds)]
    else:
        made["type"] = kinds.upper()
    some = [each for each in choices if each.get("type") != "null"]
    if len(some) < len(choices):
        made["nullable"] = True
    if len(some) == 1:
        made = {**_translated(some[0]), **made}
    elif some:
        made["anyOf"] = [_translated(each) for each in some]
    if isinstance(schema.get("items"), dict):
        made["items"] = _translated(schema["items"])
    if properties := schema.get("properties"):
        made["properties"] = {name: _translated(each) for name, each in properties.items()}
    if not made.get("required", True):
        del made["required"]
    return made
